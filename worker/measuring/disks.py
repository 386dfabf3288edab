"""Disks within reach: how much room is left."""

import shutil

import structlog

from common.metrics import Metrics
from common.setting_values import split_list

log = structlog.get_logger(__name__)


def measure_disks(paths: str, metrics: Metrics) -> None:
    """Set the metrics of the disks that `paths`, a list with commas, lie on; what cannot be looked at is logged."""
    free: dict[tuple[str, ...], float] = {}
    size: dict[tuple[str, ...], float] = {}
    for path in split_list(paths):
        try:
            usage = shutil.disk_usage(path)
        except OSError as error:
            log.warning("disk_not_measured", path=path, detail=error.strerror)
            continue
        free[path,], size[path,] = usage.free, usage.total
    metrics.replace("sspp_disk_free_bytes", free)
    metrics.replace("sspp_disk_size_bytes", size)
