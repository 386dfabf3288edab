"""Metrics of backups and drills, for Prometheus: such a job has ended before anybody could scrape it.

They are written as files for the textfile collector of node_exporter, or sent to a Pushgateway, or both. What held when
a job last succeeded is told apart from how the last run ended, so that a failure leaves it as it is.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError

import structlog
from prometheus_client import CollectorRegistry, Gauge, pushadd_to_gateway, write_to_textfile

from infrastructure.safekeeping.settings import BackupSettings

log = structlog.get_logger(__name__)

# By job, what is told of its last run, and of its last success.
_RUN = {
    "last_run_timestamp_seconds": "When the last {job} ended, in seconds since 1970.",
    "last_run_success": "1 if the last {job} succeeded, 0 if it failed.",
    "last_run_duration_seconds": "How long the last {job} took.",
}
_SUCCESS = {
    "sspp_backup": {
        "last_success_timestamp_seconds": "When the newest backup was taken, in seconds since 1970.",
        "size_bytes": "How large the newest backup is.",
        "rows": "How many rows the newest backup holds.",
        "newest_event_timestamp_seconds": "received_at of the newest event in it, in seconds since 1970; 0: none.",
    },
    "sspp_restore_drill": {
        "last_success_timestamp_seconds": "When a drill last restored a backup that was equal, in seconds since 1970.",
        "backup_timestamp_seconds": "When the backup was taken that it restored, in seconds since 1970.",
    },
    "sspp_archive": {
        "last_success_timestamp_seconds": "When partitions were last archived and dropped, in seconds since 1970.",
        "rows": "How many rows were archived then.",
        "size_bytes": "How large the archives made then are.",
    },
}
METRICS: Mapping[str, str] = {
    f"{job}_{name}": text.format(job=job.removeprefix("sspp_").replace("_", " "))
    for job, success in _SUCCESS.items()
    for name, text in {**_RUN, **success}.items()
}
"""Every metric of these jobs, with its help: all are gauges without labels."""


def report(settings: BackupSettings, job: str, part: str, values: Mapping[str, float]) -> None:
    """Tell what `values` say of a `job`, ``sspp_backup``, ``sspp_restore_drill`` or ``sspp_archive``.

    `part`, ``run`` or ``success``, replaces what was told under the same word before. That nobody takes it is logged:
    it is no reason for a backup to fail.
    """
    registry = CollectorRegistry()
    for name, value in values.items():
        full = f"{job}_{name}"
        Gauge(full, METRICS[full], registry=registry).set(value)
    if settings.metrics_dir:
        file = Path(settings.metrics_dir) / f"{job}_{part}.prom"
        try:
            write_to_textfile(str(file), registry)
            os.chmod(file, 0o644)  # noqa: PTH101 - node_exporter runs as somebody else
        except OSError as error:
            log.error("metrics_not_written", file=str(file), reason=str(error))  # noqa: TRY400 - no bug of ours
    if settings.pushgateway_url:
        try:
            pushadd_to_gateway(settings.pushgateway_url, job=job, registry=registry)
        except (URLError, OSError) as error:
            log.error("metrics_not_pushed", reason=str(error))  # noqa: TRY400 - no bug of ours
