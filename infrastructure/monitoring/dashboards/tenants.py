"""Who uses how much. Each metric names the twenty tenants that have most of it."""

from infrastructure.monitoring.panels import Dashboard, Panel, Row, stat
from infrastructure.monitoring.promql import latest, rate, server_rate

DASHBOARD = Dashboard(
    "tenants",
    "Tenants",
    "Who uses how much: of each kind the twenty tenants that have most of it.",
    [
        Row(
            "Now",
            [
                stat("Tenants", latest("sspp_tenants", "status"), width=8),
                stat(
                    "Largest share of a month's quota used",
                    "max(max by (tenant) (sspp_tenant_month_events)"
                    " / max by (tenant) (sspp_tenant_month_limit_events))",
                    "percentunit",
                    warn=0.8,
                    alarm=1,
                    width=8,
                ),
                stat(
                    "Tenants with withheld refusals",
                    "count(max by (tenant) (sspp_tenant_withheld_events) > 0) or vector(0)",
                    alarm=1,
                    width=8,
                ),
            ],
        ),
        Row(
            "Storing",
            [
                Panel(
                    "New events of this month",
                    {"{{tenant}}": latest("sspp_tenant_month_events", "tenant")},
                    text="By received_at, in UTC; the count begins anew with each month.",
                    width=12,
                ),
                Panel(
                    "New events a second",
                    {"{{tenant}}": server_rate("sspp_tenant_month_events", "tenant")},
                    "eps",
                    width=12,
                ),
                Panel(
                    "Share of the month's quota used",
                    {
                        "{{tenant}}": "max by (tenant) (sspp_tenant_month_events)"
                        " / max by (tenant) (sspp_tenant_month_limit_events)"
                    },
                    "percentunit",
                    alarm=1,
                    width=12,
                ),
                Panel(
                    "Requests turned away by a plan or a tenant's share, by code",
                    {
                        "{{code}}": rate(
                            "sspp_requests_shed_total",
                            "code",
                            where='code=~"rate_limited|quota_exceeded|tenant_.*|refusals_withheld"',
                        )
                    },
                    "reqps",
                    stacked=True,
                    width=12,
                ),
            ],
        ),
        Row(
            "Waiting",
            [
                Panel(
                    "Bytes in the queue",
                    {"{{tenant}}": f"{latest('sspp_tenant_queued_bytes', 'tenant')} or vector(0)"},
                    "bytes",
                    stacked=True,
                    width=12,
                ),
                Panel(
                    "Withheld refusals",
                    {"{{tenant}}": f"{latest('sspp_tenant_withheld_events', 'tenant')} or vector(0)"},
                    text="docs/howto/handle_withheld_refusals.md",
                    stacked=True,
                    width=12,
                ),
            ],
        ),
    ],
)
