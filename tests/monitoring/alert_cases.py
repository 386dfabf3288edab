"""Each alert with series that make it fire, and the same a little milder or shorter, which do not.

Series are those of `promtool test rules`, a sample each `interval`: ``10x5`` is 10 six times, ``0+60x5`` counts up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

Series = Mapping[str, str]


@dataclass(frozen=True)
class Case:
    """What fires `alert` at `at`, and says `summary`; and what must not, at the same moment.

    With `not_yet`, the same series must not have fired by then: the alert waits.
    """

    alert: str
    fires: Series
    at: str
    summary: str
    quiet: Series
    labels: Mapping[str, str] = field(default_factory=dict)
    severity: str = "critical"
    not_yet: str = ""
    interval: str = "1m"


def requests(*counts: tuple[str, int], events: bool = True) -> dict[str, str]:
    """Requests by status, so many each interval."""
    where = 'method="POST",route="/v1/events"' if events else 'method="GET",route="/v1/search"'
    return {
        f'sspp_http_requests_total{{{where},status="{status}"}}': f"0+{count}x600" for status, count in counts
    }


def answers(accepted: str, failed: str) -> dict[str, str]:
    """Requests with events that were accepted, and that failed."""
    name = 'sspp_http_requests_total{method="POST",route="/v1/events",status="%s"}'
    return {name % "202": accepted, name % "500": failed}


CASES = (
    Case(
        "SsppQueueTooOld",
        # Two workers tell the same: it is one queue.
        {f'sspp_lane_oldest_age_seconds{{lane="7",instance="{n}"}}': "130+60x20" for n in (1, 2)},
        "6m",
        "The oldest event in the queue has waited for 8m 10s.",
        {'sspp_lane_oldest_age_seconds{lane="7"}': "110x20"},
        not_yet="4m",
    ),
    Case(
        "SsppQueueNearlyFull",
        {"sspp_queued_bytes": "90x10", "sspp_queued_bytes_limit": "100x10"},
        "6m",
        "The queue is 90% full; at 100 % the API turns requests away.",
        {"sspp_queued_bytes": "70x10", "sspp_queued_bytes_limit": "100x10"},
        severity="warning",
        not_yet="4m",
    ),
    Case(
        "SsppRedisMemoryLow",
        {"sspp_redis_memory_bytes": "75x10", "sspp_redis_memory_limit_bytes": "100x10"},
        "6m",
        "Redis uses 75% of its maxmemory.",
        # Without maxmemory there is no share of it.
        {"sspp_redis_memory_bytes": "75x10", "sspp_redis_memory_limit_bytes": "0x10"},
        not_yet="4m",
    ),
    Case(
        "SsppLoadShed",
        {'sspp_requests_shed_total{code="queue_full"}': "0+120x20"},
        "8m",
        "The API turns away 2 requests a second (queue_full).",
        # What a tenant's own plan says is no overload.
        {'sspp_requests_shed_total{code="rate_limited"}': "0+120x20"},
        {"code": "queue_full"},
        not_yet="4m",
    ),
    Case(
        "SsppStoreLag",
        {
            'sspp_store_lag_seconds_bucket{le="60.0"}': "0x30",
            'sspp_store_lag_seconds_bucket{le="300.0"}': "0+100x30",
            'sspp_store_lag_seconds_bucket{le="+Inf"}': "0+100x30",
        },
        "20m",
        "One event in a hundred takes over 4m 57s from accepted to stored.",
        {
            'sspp_store_lag_seconds_bucket{le="60.0"}': "0+100x30",
            'sspp_store_lag_seconds_bucket{le="+Inf"}': "0+100x30",
        },
        severity="warning",
        not_yet="8m",
    ),
    Case(
        "SsppSearchLag",
        {"sspp_outbox_oldest_age_seconds": "310x20"},
        "11m",
        "Signals take over 5m 10s to become searchable.",
        {"sspp_outbox_oldest_age_seconds": "290x20"},
        severity="warning",
        not_yet="9m",
    ),
    Case(
        "SsppOutboxGrows",
        {"sspp_outbox_depth_signals": "11000+100x70"},
        "60m",
        "The outbox holds 17k signals and grows.",
        # As much, but going down.
        {"sspp_outbox_depth_signals": "30000-100x70"},
        severity="warning",
        not_yet="20m",
    ),
    Case(
        "SsppErrorRate",
        requests(("202", 90), ("503", 10)),
        "10m",
        "10% of all requests are answered with a 5xx.",
        requests(("202", 96), ("503", 4)),
        not_yet="4m",
    ),
    Case(
        "SsppRefusalRate",
        {
            "sspp_events_accepted_total": "0+90x60",
            'sspp_events_refused_total{code="invalid_event"}': "0+10x60",
            'sspp_events_rejected_total{code="unknown_event_type"}': "0+10x60",
        },
        "40m",
        "20% of the events that arrive are refused.",
        {
            "sspp_events_accepted_total": "0+95x60",
            'sspp_events_refused_total{code="invalid_event"}': "0+5x60",
        },
        severity="warning",
        not_yet="10m",
    ),
    Case(
        "SsppRefusalsWithheld",
        {"sspp_withheld_events": "1200x10"},
        "6m",
        "1.2k events are withheld: suspiciously many would be refused.",
        {"sspp_withheld_events": "0x10"},
        not_yet="4m",
    ),
    Case(
        "SsppWorkerFault",
        {'sspp_drain_errors_total{stage="ingest",code="internal_error"}': "0+1x20"},
        "8m",
        "Batches of the stage ingest fail for a reason that nobody foresaw.",
        # A store that is away has an alert of its own.
        {'sspp_drain_errors_total{stage="ingest",code="database_unavailable"}': "0+1x20"},
        {"stage": "ingest"},
        not_yet="4m",
    ),
    Case(
        "SsppPoison",
        {"sspp_suspect_entries_claimed_total": "0x5 1x10"},
        "8m",
        "Workers die again and again with the same events.",
        {"sspp_suspect_entries_claimed_total": "3x20"},
    ),
    Case(
        "SsppForeignJobs",
        {"sspp_jobs_refused_total": "0x5 1x10"},
        "8m",
        "Somebody else writes jobs into Redis; they were not run.",
        {"sspp_jobs_refused_total": "3x20"},
    ),
    Case(
        "SsppDocumentsRefused",
        {"sspp_index_failures_total": "0+1x60"},
        "60m",
        "Elasticsearch refused 60 documents for their content within an hour.",
        {"sspp_index_failures_total": "60x60"},
        severity="warning",
    ),
    Case(
        "SsppSignalsMissing",
        {"sspp_index_missing_signals": "12x40"},
        "16m",
        "The index lacks 12 signals of the last day.",
        # Found once, and gone with the next look.
        {"sspp_index_missing_signals": "12x10 0x30"},
        severity="warning",
        not_yet="14m",
    ),
    Case(
        "SsppOrphanDocuments",
        {"sspp_index_orphan_documents": "3x40"},
        "16m",
        "The index holds 3 documents of the last day that have no signal.",
        {"sspp_index_orphan_documents": "3x10 0x30"},
        severity="warning",
        not_yet="14m",
    ),
    Case(
        "SsppSearchClusterRed",
        {'sspp_search_health{status="red"}': "1x10"},
        "6m",
        "The search cluster is red: some of the index is not there.",
        {'sspp_search_health{status="red"}': "0x10", 'sspp_search_health{status="yellow"}': "1x10"},
        not_yet="4m",
    ),
    Case(
        "SsppTargetDown",
        {'up{job="sspp-worker",instance="w:9100"}': "0x10"},
        "6m",
        "w:9100 of sspp-worker does not answer Prometheus.",
        {'up{job="sspp-worker",instance="w:9100"}': "0x2 1x8", 'up{job="node",instance="n:9100"}': "0x10"},
        {"job": "sspp-worker", "instance": "w:9100"},
        severity="warning",
        not_yet="4m",
    ),
    Case(
        "SsppNoApi",
        # As workers show it, who do not know it.
        {'sspp_queued_bytes_limit{job="sspp-worker"}': "0x10"},
        "6m",
        "No API process answers Prometheus: they are down, or nobody watches them.",
        {'sspp_queued_bytes_limit{job="sspp-api"}': "100x10"},
        not_yet="4m",
    ),
    Case(
        "SsppNoWorkers",
        {'sspp_workers{queue="index"}': "0x10", 'sspp_workers{queue="ingest"}': "2x10"},
        "3m",
        "No worker listens to the queue index.",
        {'sspp_workers{queue="index"}': "1x10"},
        {"queue": "index"},
        not_yet="1m",
    ),
    Case(
        "SsppNotMeasured",
        {"sspp_queued_bytes": "1x10"},
        "6m",
        "No maintenance worker measures the stores, and none keeps them in shape.",
        {'sspp_store_up{store="redis"}': "0x10"},
        not_yet="4m",
    ),
    Case(
        "SsppMeasurementFails",
        {'sspp_measurement_last_success_timestamp_seconds{measurement="sizes",instance="1"}': "0x40"},
        "21m",
        "The maintenance worker cannot measure: sizes. What it shows of that is old.",
        # One of two maintenance workers can.
        {
            'sspp_measurement_last_success_timestamp_seconds{measurement="sizes",instance="1"}': "0x40",
            'sspp_measurement_last_success_timestamp_seconds{measurement="sizes",instance="2"}': "0+60x40",
        },
        {"measurement": "sizes"},
        severity="warning",
        not_yet="19m",
    ),
    Case(
        "SsppStoreDown",
        {
            'sspp_store_up{store="redis",instance="1"}': "0x10",
            'sspp_store_up{store="redis",instance="2"}': "0x10",
        },
        "3m",
        "redis does not answer.",
        # One of two maintenance workers reaches it.
        {
            'sspp_store_up{store="redis",instance="1"}': "0x10",
            'sspp_store_up{store="redis",instance="2"}': "1x10",
        },
        {"store": "redis"},
        not_yet="1m",
    ),
    Case(
        "SsppDiskFilling",
        {'sspp_disk_free_bytes{path="/data"}': "15x60", 'sspp_disk_size_bytes{path="/data"}': "100x60"},
        "31m",
        "/data: less than a fifth of the disk is left, or it is full within a day.",
        {'sspp_disk_free_bytes{path="/data"}': "40x60", 'sspp_disk_size_bytes{path="/data"}': "100x60"},
        {"disk": "/data", "path": "/data"},
        severity="warning",
        not_yet="29m",
    ),
    Case(
        "SsppDiskFilling",
        # Half of a volume is left, but a tenth goes every hour.
        {
            'kubelet_volume_stats_available_bytes{namespace="sspp",persistentvolumeclaim="pg"}': "9000-10x400",
            'kubelet_volume_stats_capacity_bytes{namespace="sspp",persistentvolumeclaim="pg"}': "10000x400",
        },
        "400m",
        "sspp/pg: less than a fifth of the disk is left, or it is full within a day.",
        {
            'kubelet_volume_stats_available_bytes{namespace="other",persistentvolumeclaim="pg"}': "1x400",
            'kubelet_volume_stats_capacity_bytes{namespace="other",persistentvolumeclaim="pg"}': "10000x400",
        },
        {"disk": "sspp/pg", "namespace": "sspp", "persistentvolumeclaim": "pg"},
        severity="warning",
    ),
    Case(
        "SsppDiskFull",
        {
            'node_filesystem_avail_bytes{job="sspp-node",instance="n",mountpoint="/",fstype="ext4"}': "4x20",
            'node_filesystem_size_bytes{job="sspp-node",instance="n",mountpoint="/",fstype="ext4"}': "100x20",
        },
        "6m",
        "n /: 4% of the disk is left.",
        {
            'node_filesystem_avail_bytes{job="sspp-node",instance="n",mountpoint="/run",fstype="tmpfs"}': "4x20",
            'node_filesystem_size_bytes{job="sspp-node",instance="n",mountpoint="/run",fstype="tmpfs"}': "100x20",
        },
        {"disk": "n /", "instance": "n", "mountpoint": "/"},
        not_yet="4m",
    ),
    Case(
        "SsppPartitionsMissingAhead",
        {'sspp_partition_months_ahead{table="events"}': "0x90"},
        "61m",
        "The table events has no partition for the next month.",
        {'sspp_partition_months_ahead{table="events"}': "1x90"},
        {"table": "events"},
        not_yet="59m",
    ),
    Case(
        "SsppDefaultPartitionUsed",
        {'sspp_default_partition_rows{table="events"}': "5x60"},
        "31m",
        "The DEFAULT partition of events holds 5 rows.",
        {'sspp_default_partition_rows{table="events"}': "0x60"},
        {"table": "events"},
        severity="warning",
        not_yet="29m",
    ),
    Case(
        "SsppDatabaseConnections",
        {
            'sspp_database_connections{state="idle"}': "80x10",
            'sspp_database_connections{state="active"}': "10x10",
            "sspp_database_connections_limit": "100x10",
        },
        "6m",
        "90% of PostgreSQL's connections are taken.",
        {'sspp_database_connections{state="idle"}': "80x10", "sspp_database_connections_limit": "100x10"},
        severity="warning",
        not_yet="4m",
    ),
    Case(
        "SsppLongTransaction",
        {"sspp_database_oldest_transaction_seconds": "1860+60x20"},
        "6m",
        "A transaction has been open for 37m 0s.",
        {"sspp_database_oldest_transaction_seconds": "1700x20"},
        severity="warning",
        not_yet="4m",
    ),
    Case(
        "SsppBackupTooOld",
        {"sspp_backup_last_success_timestamp_seconds": "0x180"},
        "1600m",
        "The last good backup is 1d 2h 40m 0s old.",
        {"sspp_backup_last_success_timestamp_seconds": "0x100 60000x80"},
        interval="10m",
        not_yet="1500m",
    ),
    Case(
        "SsppBackupFailed",
        {"sspp_backup_last_run_success": "0x10"},
        "6m",
        "The last attempt to make a backup failed.",
        {"sspp_backup_last_run_success": "1x10"},
        severity="warning",
        not_yet="4m",
    ),
    Case(
        "SsppBackupUnknown",
        {"sspp_queued_bytes": "1x90"},
        "61m",
        "Nothing tells when the last backup was made.",
        {"sspp_backup_last_success_timestamp_seconds": "0x90"},
        severity="warning",
        not_yet="59m",
    ),
    Case(
        "SsppRestoreDrillTooOld",
        {"sspp_restore_drill_last_success_timestamp_seconds": "0x300"},
        "11600m",
        "The last backup that was seen to restore was tried 8d 1h 20m 0s ago.",
        {"sspp_restore_drill_last_success_timestamp_seconds": "0x225 540000x75"},
        severity="warning",
        interval="40m",
        not_yet="11480m",
    ),
    Case(
        "SsppRestoreDrillFailed",
        {"sspp_restore_drill_last_run_success": "0x10"},
        "6m",
        "The last restore drill failed: there may be no backup that restores.",
        {"sspp_restore_drill_last_run_success": "1x10"},
        not_yet="4m",
    ),
    Case(
        "SsppRestoreDrillUnknown",
        {"sspp_queued_bytes": "1x90"},
        "61m",
        "Nothing tells when a backup was last seen to restore.",
        {"sspp_restore_drill_last_success_timestamp_seconds": "0x90"},
        severity="warning",
        not_yet="59m",
    ),
    Case(
        "SsppArchiveFailed",
        {"sspp_archive_last_run_success": "0x10"},
        "6m",
        "The last attempt to archive and drop old months failed.",
        {"sspp_archive_last_run_success": "1x10"},
        severity="warning",
        not_yet="4m",
    ),
    Case(
        "SsppBudgetBurnsFast",
        requests(("202", 98), ("500", 2)),
        "70m",
        "The objective accepting: 2% fall short, and the budget of 30 days is gone within days.",
        # Twice the budget: nobody has to get up for that.
        requests(("202", 998), ("500", 2)),
        {"slo": "accepting"},
    ),
    Case(
        "SsppBudgetBurnsFast",
        answers("0+90x200", "0+10x200"),
        "95m",
        "The objective accepting: 10% fall short, and the budget of 30 days is gone within days.",
        # An hour of the same, over for half an hour: the long windows still see it, the short ones do not.
        answers("0+90x200", "0+10x60 600x140"),
        {"slo": "accepting"},
    ),
    Case(
        "SsppBudgetBurnsFast",
        answers("0+90x200", "0x34 0+10x160"),
        "95m",
        "The objective accepting: 10% fall short, and the budget of 30 days is gone within days.",
        # The same for three minutes: the short windows see it, the long ones find it too little.
        answers("0+90x200", "0x91 0+10x100"),
        {"slo": "accepting"},
    ),
    Case(
        "SsppBudgetBurnsFast",
        {
            'sspp_store_lag_seconds_bucket{le="10.0"}': "0+90x600",
            "sspp_store_lag_seconds_count": "0+100x600",
        },
        "400m",
        "The objective storing: 10% fall short, and the budget of 30 days is gone within days.",
        {
            'sspp_store_lag_seconds_bucket{le="10.0"}': "0+100x600",
            "sspp_store_lag_seconds_count": "0+100x600",
        },
        {"slo": "storing"},
    ),
    Case(
        "SsppBudgetBurnsSlowly",
        requests(("202", 998), ("500", 2)),
        "4320m",
        "The objective accepting: 0.2% fall short, and the budget of 30 days will not last.",
        # What a search answers is no part of this objective.
        requests(("202", 1000)) | requests(("500", 500), events=False),
        {"slo": "accepting"},
        severity="warning",
        interval="10m",
    ),
    Case(
        "SsppBudgetBurnsSlowly",
        {
            'sspp_index_lag_seconds_bucket{le="30.0"}': "0+95x600",
            "sspp_index_lag_seconds_count": "0+100x600",
        },
        "4320m",
        "The objective searching: 5% fall short, and the budget of 30 days will not last.",
        {
            'sspp_index_lag_seconds_bucket{le="30.0"}': "0+100x600",
            "sspp_index_lag_seconds_count": "0+100x600",
        },
        {"slo": "searching"},
        severity="warning",
        interval="10m",
    ),
    Case(
        "SsppBudgetBurnsSlowly",
        {
            'sspp_http_request_duration_seconds_bucket{method="POST",route="/v1/events",le="0.25"}': "0+95x600",
            'sspp_http_request_duration_seconds_count{method="POST",route="/v1/events"}': "0+100x600",
        },
        "4320m",
        "The objective answering: 5% fall short, and the budget of 30 days will not last.",
        {
            'sspp_http_request_duration_seconds_bucket{method="POST",route="/v1/events",le="0.25"}': "0+100x600",
            'sspp_http_request_duration_seconds_count{method="POST",route="/v1/events"}': "0+100x600",
        },
        {"slo": "answering"},
        severity="warning",
        interval="10m",
    ),
    Case("SsppWatchdog", {}, "1m", "Alerts get through.", {}, severity="none"),
)
