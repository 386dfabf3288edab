"""Whether the platform keeps its promises, and where to look if not."""

from infrastructure.monitoring.panels import Dashboard, Panel, Row, stat
from infrastructure.monitoring.promql import latest, quantile, rate, rate_or_zero

_EVENTS = 'method="POST", route="/v1/events"'
_UP = {0: "down", 1: "up"}

DASHBOARD = Dashboard(
    "overview",
    "Overview",
    "Whether the platform keeps its promises, and where to look if not.",
    [
        Row(
            "Now",
            [
                stat(
                    "Alerts firing",
                    'count(ALERTS{alertstate="firing", alertname=~"Sspp.*", severity!="none"}) or vector(0)',
                    warn=1,
                    alarm=3,
                    text="Each has a runbook page in docs/runbooks.",
                ),
                stat("Stores up", latest("sspp_store_up", "store"), names=_UP, alarm=0.5, warn=1, width=8),
                stat("Live workers", latest("sspp_workers", "queue"), alarm=0.5, warn=1, width=8),
                stat("Least disk left", "min(sspp:disk_free:ratio)", "percentunit", alarm=0.1, warn=0.2),
            ],
        ),
        Row(
            "Promises",
            [
                Panel(
                    "How fast the error budgets burn (1 h)",
                    {"{{slo}}": "sspp:slo_errors:ratio_rate1h / on (slo) sspp:slo_budget:ratio"},
                    text="At 1 the budget lasts exactly its 30 days; at 14.4 two days.",
                    warn=1,
                    alarm=14.4,
                    width=12,
                ),
                Panel(
                    "Share that fell short (3 d)",
                    {"{{slo}}": "sspp:slo_errors:ratio_rate3d"},
                    "percentunit",
                    text="Of requests, events or signals, against each objective of infrastructure/monitoring/slos.py.",
                    width=12,
                ),
            ],
        ),
        Row(
            "The way of an event",
            [
                Panel(
                    "Events a second",
                    {
                        "accepted": rate("sspp_events_accepted_total"),
                        "stored": rate("sspp_events_stored_total"),
                        "indexed": rate("sspp_signals_indexed_total"),
                    },
                    "eps",
                ),
                Panel(
                    "What waits",
                    {
                        "events in the lanes": "sspp:lane_depth_events:sum",
                        "signals in the outbox": "sspp:outbox_depth_signals:max",
                    },
                ),
                Panel(
                    "How long the oldest has waited",
                    {
                        "in the lanes": "sspp:lane_oldest_age_seconds:max",
                        "in the outbox": "sspp:outbox_oldest_age_seconds:max",
                    },
                    "s",
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
                Panel(
                    "From accepted to searchable",
                    {
                        "half below": quantile(0.5, "sspp_index_lag_seconds"),
                        "99 % below": quantile(0.99, "sspp_index_lag_seconds"),
                    },
                    "s",
                    alarm=30,
                ),
                Panel(
                    "Time to accept a request",
                    {
                        "half below": quantile(0.5, "sspp_http_request_duration_seconds", where=_EVENTS),
                        "99 % below": quantile(0.99, "sspp_http_request_duration_seconds", where=_EVENTS),
                    },
                    "s",
                    alarm=0.25,
                ),
            ],
        ),
        Row(
            "Trouble",
            [
                Panel(
                    "Requests by status",
                    {"{{status}}": rate("sspp_http_requests_total", "status")},
                    "reqps",
                    stacked=True,
                ),
                Panel(
                    "Turned away, refused, put off",
                    {
                        "requests turned away": rate_or_zero("sspp_requests_shed_total"),
                        "events refused by the API": rate_or_zero("sspp_events_refused_total"),
                        "events refused by a worker": rate_or_zero("sspp_events_rejected_total"),
                        "batches put off": rate_or_zero("sspp_drain_errors_total"),
                        "documents refused": rate("sspp_index_failures_total"),
                    },
                    "cps",
                ),
                Panel(
                    "Age of the last backup and restore drill",
                    {
                        "backup": "time() - sspp:backup_last_success_timestamp_seconds:max",
                        "restore drill": "time() - sspp:restore_drill_last_success_timestamp_seconds:max",
                    },
                    "s",
                ),
            ],
        ),
    ],
)
