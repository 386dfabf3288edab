"""What the workers do, how long each step takes them, and what holds them up."""

from infrastructure.monitoring.panels import Dashboard, Panel, Row, stat
from infrastructure.monitoring.promql import latest, mean, quantile, rate, rate_or_zero

# Only workers: every process of the platform shows this limit, and those of the API know it.
_THESE = "and on (instance) (sspp_queued_bytes_limit == 0)"

DASHBOARD = Dashboard(
    "workers",
    "Workers",
    "What the workers do, how long each step takes them, and what holds them up.",
    [
        Row(
            "Who works",
            [
                Panel("Live workers", {"{{queue}}": latest("sspp_workers", "queue")}),
                Panel(
                    "Drains begun",
                    {"{{stage}}": rate("sspp_drains_total", "stage")},
                    "cps",
                    text="Steady traffic keeps a drain running for SSPP_DRAIN_BUDGET_SECONDS; idle workers begin none.",
                ),
                Panel(
                    "Batches put off, by code",
                    {
                        "all": rate_or_zero("sspp_drain_errors_total"),
                        "faults of ours": rate_or_zero("sspp_drain_errors_total", 'code="internal_error"'),
                    },
                    "cps",
                    text="The line batch_put_off in the log says why.",
                ),
            ],
        ),
        Row(
            "Storing",
            [
                Panel(
                    "Events",
                    {
                        "stored": rate("sspp_events_stored_total"),
                        "stored before": rate("sspp_events_duplicate_total"),
                        "of other content than before": rate("sspp_events_conflict_total"),
                        "refused": rate_or_zero("sspp_events_rejected_total"),
                        "of erased or suppressed customers": rate_or_zero("sspp_events_dropped_total"),
                    },
                    "eps",
                ),
                Panel(
                    "Refused, by code",
                    {"{{code}}": rate("sspp_events_rejected_total", "code")},
                    "eps",
                    text="`sspp rejected list` says which and why.",
                    stacked=True,
                ),
                Panel(
                    "From accepted to stored",
                    {
                        "half below": quantile(0.5, "sspp_store_lag_seconds"),
                        "99 % below": quantile(0.99, "sspp_store_lag_seconds"),
                    },
                    "s",
                    alarm=10,
                ),
            ],
        ),
        Row(
            "Batches",
            [
                Panel("Items in a batch, mean", {"{{stage}}": mean("sspp_batch_size", "stage")}),
                Panel(
                    "Time of a step, mean",
                    {"{{stage}} {{step}}": mean("sspp_stage_duration_seconds", "stage", "step")},
                    "s",
                    stacked=True,
                ),
                Panel(
                    "Seconds of each second spent in a step",
                    {"{{stage}} {{step}}": rate("sspp_stage_duration_seconds_sum", "stage", "step")},
                    "short",
                    text="Near the number of workers of a stage: they have no time left.",
                    stacked=True,
                ),
            ],
        ),
        Row(
            "What needs a look",
            [
                stat("Withheld refusals", latest("sspp_withheld_events"), alarm=1, width=6),
                stat(
                    "Entries taken over (1 h)",
                    "sum(increase(sspp_entries_claimed_total[1h]))",
                    text="Workers died, and others took over.",
                    width=6,
                ),
                stat(
                    "Suspect entries (1 h)",
                    "sum(increase(sspp_suspect_entries_claimed_total[1h]))",
                    text="Workers die again and again with the same events.",
                    alarm=1,
                    width=6,
                ),
                stat(
                    "Jobs of others refused (1 h)",
                    "sum(increase(sspp_jobs_refused_total[1h]))",
                    text="Somebody else writes to Redis.",
                    alarm=1,
                    width=6,
                ),
            ],
        ),
        Row(
            "Processes",
            [
                Panel(
                    "Memory",
                    {"{{instance}}": f"process_resident_memory_bytes {_THESE}"},
                    "bytes",
                    width=12,
                ),
                Panel(
                    "Cores in use",
                    {"{{instance}}": f"rate(process_cpu_seconds_total[$__rate_interval]) {_THESE}"},
                    width=12,
                ),
            ],
        ),
    ],
)
