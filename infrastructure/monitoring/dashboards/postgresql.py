"""PostgreSQL: load, room, and what is done in time."""

from infrastructure.monitoring.panels import Dashboard, Panel, Row, stat
from infrastructure.monitoring.promql import latest, mean, server_rate

_BLOCKS = "sspp_database_blocks_total"
_FOUND_IN_CACHE = server_rate(_BLOCKS, where='source="cache"') + f" / sum({server_rate(_BLOCKS, 'source')})"

DASHBOARD = Dashboard(
    "postgresql",
    "PostgreSQL",
    "Load, room, and what has to be done in time. A maintenance worker measures it.",
    [
        Row(
            "Now",
            [
                stat(
                    "PostgreSQL",
                    latest("sspp_store_up", where='store="postgresql"'),
                    names={0: "down", 1: "up"},
                    alarm=0.5,
                    warn=1,
                ),
                stat("Size", latest("sspp_database_bytes"), "bytes"),
                stat(
                    "Connections",
                    "sum(max by (state) (sspp_database_connections)) / max(sspp_database_connections_limit)",
                    "percentunit",
                    warn=0.7,
                    alarm=0.85,
                ),
                stat(
                    "Oldest transaction",
                    latest("sspp_database_oldest_transaction_seconds"),
                    "s",
                    warn=300,
                    alarm=1800,
                ),
                stat("Locks awaited", latest("sspp_database_locks_awaited"), warn=5, alarm=20),
                stat(
                    "Found in shared_buffers",
                    _FOUND_IN_CACHE,
                    "percentunit",
                    alarm=0.8,
                    warn=0.95,
                ),
            ],
        ),
        Row(
            "Load",
            [
                Panel(
                    "Transactions",
                    {"{{outcome}}": server_rate("sspp_database_transactions_total", "outcome")},
                    "cps",
                ),
                Panel(
                    "Rows written",
                    {"{{operation}}": server_rate("sspp_database_rows_total", "operation")},
                    "cps",
                ),
                Panel(
                    "Connections, by state",
                    {"{{state}}": latest("sspp_database_connections", "state")},
                    stacked=True,
                ),
                Panel(
                    "Time of a step of storing, mean",
                    {"{{step}}": mean("sspp_stage_duration_seconds", "step", where='stage="ingest"')},
                    "s",
                ),
                Panel(
                    "Temporary files",
                    {"written": server_rate("sspp_database_temporary_bytes_total")},
                    "Bps",
                    text="Sorts and hashes beyond work_mem.",
                ),
                Panel("Deadlocks", {"resolved": server_rate("sspp_database_deadlocks_total")}, "cps"),
            ],
        ),
        Row(
            "Room",
            [
                Panel(
                    "Size of the largest tables",
                    {"{{table}}": f"topk(10, {latest('sspp_table_bytes', 'table')})"},
                    "bytes",
                    text="With their partitions and indexes.",
                    stacked=True,
                    width=12,
                ),
                Panel(
                    "Share of each disk left", {"{{disk}}": "sspp:disk_free:ratio"}, "percentunit", width=12
                ),
            ],
        ),
        Row(
            "In time",
            [
                Panel(
                    "Months ahead that have a partition",
                    {"{{table}}": latest("sspp_partition_months_ahead", "table")},
                    text="Upkeep keeps SSPP_PARTITIONS_AHEAD of them.",
                ),
                Panel(
                    "Rows in DEFAULT partitions",
                    {"{{table}}": latest("sspp_default_partition_rows", "table")},
                    alarm=1,
                ),
                Panel(
                    "Age of the last backup and restore drill",
                    {
                        "backup": "time() - sspp:backup_last_success_timestamp_seconds:max",
                        "restore drill": "time() - sspp:restore_drill_last_success_timestamp_seconds:max",
                    },
                    "s",
                ),
                Panel(
                    "Time of a measurement",
                    {"{{measurement}}": latest("sspp_measurement_seconds", "measurement")},
                    "s",
                    text="What it costs that the maintenance worker measures the stores.",
                ),
                Panel(
                    "Size of the newest backup",
                    {"bytes": latest("sspp_backup_size_bytes")},
                    "bytes",
                ),
                Panel(
                    "Rows in the newest backup",
                    {"rows": latest("sspp_backup_rows")},
                    text="A sudden fall is worth a look.",
                ),
            ],
        ),
    ],
)
