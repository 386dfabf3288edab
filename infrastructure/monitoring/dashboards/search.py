"""Search: whether the index follows, what it holds, and how fast it answers."""

from infrastructure.monitoring.panels import Dashboard, Panel, Row, stat
from infrastructure.monitoring.promql import latest, quantile, rate

_SEARCH = 'route="/v1/search"'

DASHBOARD = Dashboard(
    "search",
    "Search",
    "Whether the index follows PostgreSQL, what it holds, and how fast it answers.",
    [
        Row(
            "Now",
            [
                stat(
                    "Elasticsearch",
                    latest("sspp_store_up", where='store="elasticsearch"'),
                    names={0: "down", 1: "up"},
                    alarm=0.5,
                    warn=1,
                ),
                stat(
                    "Cluster red",
                    latest("sspp_search_health", where='status="red"'),
                    names={0: "no", 1: "yes"},
                    alarm=1,
                ),
                stat("Documents", "sum(max by (index) (sspp_search_documents))"),
                stat("Missing signals", latest("sspp_index_missing_signals"), warn=1, alarm=1),
                stat("Orphan documents", latest("sspp_index_orphan_documents"), warn=1, alarm=1),
                stat("Refused documents", latest("sspp_index_refused_documents"), warn=1, alarm=1000),
            ],
        ),
        Row(
            "Following",
            [
                Panel("Documents written", {"documents": rate("sspp_signals_indexed_total")}, "eps"),
                Panel("Signals in the outbox", {"waiting": latest("sspp_outbox_depth_signals")}, warn=10_000),
                Panel("Age of the oldest of them", {"oldest": latest("sspp_outbox_oldest_age_seconds")}, "s"),
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
                    "What did not go at once",
                    {
                        "documents put off": rate("sspp_documents_put_off_total"),
                        "documents refused": rate("sspp_index_failures_total"),
                        "signals sent again after a loss": rate("sspp_signals_reopened_total"),
                    },
                    "cps",
                ),
                Panel(
                    "Losses of the search server (24 h)",
                    {"found and acted upon": "sum(increase(sspp_index_resends_total[24h]))"},
                ),
            ],
        ),
        Row(
            "Searching",
            [
                Panel(
                    "Searches, by status",
                    {"{{status}}": rate("sspp_http_requests_total", "status", where=_SEARCH)},
                    "reqps",
                    stacked=True,
                ),
                Panel(
                    "Time to answer",
                    {
                        f"{share:.0%} below": quantile(
                            share, "sspp_http_request_duration_seconds", where=_SEARCH
                        )
                        for share in (0.5, 0.95, 0.99)
                    },
                    "s",
                ),
                Panel(
                    "Size of each index",
                    {"{{index}}": latest("sspp_search_bytes", "index")},
                    "bytes",
                    stacked=True,
                ),
            ],
        ),
    ],
)
