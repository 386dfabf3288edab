"""How the API takes in events, and what waits in the lanes."""

from infrastructure.monitoring.panels import Dashboard, Panel, Row
from infrastructure.monitoring.promql import latest, mean, quantile, rate

_EVENTS = 'method="POST", route="/v1/events"'

# Only API processes: every process of the platform shows this limit, and those of the API know it.
_THESE = "and on (instance) (sspp_queued_bytes_limit > 0)"

DASHBOARD = Dashboard(
    "ingest",
    "Ingest",
    "How the API takes in events, and what waits in the lanes.",
    [
        Row(
            "Requests with events",
            [
                Panel(
                    "By status",
                    {"{{status}}": rate("sspp_http_requests_total", "status", where=_EVENTS)},
                    "reqps",
                    stacked=True,
                ),
                Panel(
                    "Time to answer",
                    {
                        f"{share:.0%} below": quantile(
                            share, "sspp_http_request_duration_seconds", where=_EVENTS
                        )
                        for share in (0.5, 0.95, 0.99)
                    },
                    "s",
                    alarm=0.25,
                ),
                Panel(
                    "Request bodies held",
                    {"{{instance}}": latest("sspp_body_bytes", "instance")},
                    "bytes",
                    text="Up to SSPP_MAX_INFLIGHT_BYTES in each API process.",
                ),
            ],
        ),
        Row(
            "Events",
            [
                Panel("Accepted", {"events": rate("sspp_events_accepted_total")}, "eps"),
                Panel(
                    "Refused, by code",
                    {"{{code}}": rate("sspp_events_refused_total", "code")},
                    "eps",
                    text="The senders know: the answer says so, event by event.",
                    stacked=True,
                ),
                Panel(
                    "Requests turned away, by code",
                    {"{{code}}": rate("sspp_requests_shed_total", "code")},
                    "reqps",
                    text="docs/howto/handle_overload.md tells what each code asks for.",
                    stacked=True,
                ),
            ],
        ),
        Row(
            "Pushes to Redis",
            [
                Panel(
                    "Time until it is on disk",
                    {
                        "half below": quantile(0.5, "sspp_push_duration_seconds"),
                        "99 % below": quantile(0.99, "sspp_push_duration_seconds"),
                    },
                    "s",
                ),
                Panel("Events in a push, mean", {"events": mean("sspp_push_events")}),
                Panel(
                    "Redis's memory",
                    {
                        "in use": latest("sspp_redis_memory_bytes"),
                        "maxmemory": latest("sspp_redis_memory_limit_bytes"),
                    },
                    "bytes",
                    text="A maxmemory of 0 is none.",
                ),
            ],
        ),
        Row(
            "The queue",
            [
                Panel(
                    "Bytes in the queue",
                    {
                        "queued": latest("sspp_queued_bytes"),
                        "limit": latest("sspp_queued_bytes_limit"),
                    },
                    "bytes",
                ),
                Panel(
                    "Events in each lane",
                    {"{{lane}}": latest("sspp_lane_depth_events", "lane")},
                    stacked=True,
                ),
                Panel(
                    "Oldest event of each lane",
                    {"{{lane}}": latest("sspp_lane_oldest_age_seconds", "lane")},
                    "s",
                ),
            ],
        ),
        Row(
            "API processes",
            [
                Panel(
                    "Memory",
                    {"{{instance}}": f"process_resident_memory_bytes {_THESE}"},
                    "bytes",
                ),
                Panel(
                    "Cores in use",
                    {"{{instance}}": f"rate(process_cpu_seconds_total[$__rate_interval]) {_THESE}"},
                ),
                Panel(
                    "Calls that the log of calls missed",
                    {"calls": rate("sspp_api_logs_dropped_total")},
                    "cps",
                    alarm=1,
                ),
            ],
        ),
    ],
)
