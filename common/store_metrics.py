"""The part of the catalogue that is about the stores, the queue and the tenants as a whole.

The maintenance workers measure these (`worker.measuring`), and all of them measure the same: take the maximum, never
the sum.
"""

from common.metric import Metric

STORE_METRICS: tuple[Metric, ...] = (
    Metric("sspp_store_up", "gauge", "Whether a store answers the maintenance worker: 1 or 0.", ("store",)),
    Metric(
        "sspp_measurement_last_success_timestamp_seconds",
        "gauge",
        "When a measurement last succeeded, in seconds since 1970; 0: never.",
        ("measurement",),
    ),
    Metric("sspp_measurement_seconds", "gauge", "How long a measurement last took.", ("measurement",)),
    Metric("sspp_workers", "gauge", "Live RQ workers, by the queue that they listen to.", ("queue",)),
    Metric("sspp_redis_memory_bytes", "gauge", "Memory that Redis uses."),
    Metric("sspp_redis_memory_limit_bytes", "gauge", "Redis's maxmemory; 0 if it has none."),
    Metric("sspp_database_bytes", "gauge", "Size of the database on disk."),
    Metric(
        "sspp_table_bytes", "gauge", "Size of a table with its partitions and indexes, by table.", ("table",)
    ),
    Metric(
        "sspp_database_connections",
        "gauge",
        "Connections to the PostgreSQL server, of all databases, by state; `unknown` where the role may not see it.",
        ("state",),
    ),
    Metric("sspp_database_connections_limit", "gauge", "PostgreSQL's max_connections."),
    Metric(
        "sspp_database_transactions_total",
        "counter",
        "Transactions of the database, by outcome.",
        ("outcome",),
    ),
    Metric(
        "sspp_database_blocks_total",
        "counter",
        "Blocks that were read, by where they were found: `cache` (shared_buffers) or `disk` (the system).",
        ("source",),
    ),
    Metric("sspp_database_rows_total", "counter", "Rows that were written, by operation.", ("operation",)),
    Metric("sspp_database_deadlocks_total", "counter", "Deadlocks that PostgreSQL resolved."),
    Metric(
        "sspp_database_temporary_bytes_total", "counter", "Bytes of temporary files: sorts beyond work_mem."
    ),
    Metric("sspp_database_locks_awaited", "gauge", "Locks that somebody waits for."),
    Metric("sspp_database_oldest_transaction_seconds", "gauge", "Age of the oldest open transaction."),
    Metric(
        "sspp_partition_months_ahead",
        "gauge",
        "Months to come of which the table has a partition, from the next one on without a gap.",
        ("table",),
    ),
    Metric(
        "sspp_default_partition_rows",
        "gauge",
        "Rows in the table's DEFAULT partition, up to 100,000. Above 0: a partition is missing.",
        ("table",),
    ),
    Metric(
        "sspp_search_health",
        "gauge",
        "1 for the status that the search cluster has, green, yellow or red; 0 for the others.",
        ("status",),
    ),
    Metric("sspp_search_documents", "gauge", "Documents of an index.", ("index",)),
    Metric("sspp_search_bytes", "gauge", "Size of an index on disk.", ("index",)),
    Metric(
        "sspp_index_missing_signals",
        "gauge",
        "Signals of the last 24 hours, or the last million of them, that the index should have by now, and has not.",
    ),
    Metric(
        "sspp_index_orphan_documents",
        "gauge",
        "Documents of the same time that the index has, and PostgreSQL no signal for.",
    ),
    Metric(
        "sspp_index_refused_documents",
        "gauge",
        "Documents in index_failures, refused for their content; up to 100,000.",
    ),
    Metric("sspp_tenants", "gauge", "Tenants, by status.", ("status",)),
    Metric(
        "sspp_tenant_month_events",
        "gauge",
        "New events of this month (UTC), of the 20 tenants that have most of them.",
        ("tenant",),
    ),
    Metric(
        "sspp_tenant_month_limit_events",
        "gauge",
        "Events a month that the plan of such a tenant allows; absent without a limit.",
        ("tenant",),
    ),
    Metric(
        "sspp_tenant_queued_bytes",
        "gauge",
        "Bytes of events in the queue, of the 20 tenants that have most there.",
        ("tenant",),
    ),
    Metric(
        "sspp_tenant_withheld_events",
        "gauge",
        "Withheld refusals, of the 20 tenants that have most of them.",
        ("tenant",),
    ),
    Metric("sspp_disk_free_bytes", "gauge", "Free space where SSPP_DISK_PATHS says to look.", ("path",)),
    Metric("sspp_disk_size_bytes", "gauge", "Size of the file system that such a path lies on.", ("path",)),
)
