"""Backups and drills: when the last ones were, by the store or by the metrics that they wrote."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from infrastructure.backup.catalogue import backup_names, find_backup, last_drill
from infrastructure.backup.manifest import Manifest
from infrastructure.safekeeping.errors import UnusableBackupError
from infrastructure.safekeeping.settings import BackupSettings
from infrastructure.safekeeping.stores import FolderStore, Store, open_store
from infrastructure.status.status import Answers

_BACKUP_SECONDS = 26 * 3600
_DRILL_SECONDS = 8 * 86400


def ask_backups(settings: BackupSettings, now: datetime, answers: Answers) -> None:
    """Add ``backups``: ``last_backup`` and ``last_drill``, None if there was none; None where no store is named.

    Raises:
        StoreError: the store is away, or not there.
        SettingsError: its settings are wrong.
    """
    if settings.url:
        answers.sections["backups"] = _by_store(settings)
    elif settings.metrics_dir:
        answers.sections["backups"] = {
            "last_backup": _by_metrics(settings, "sspp_backup"),
            "last_drill": _by_metrics(settings, "sspp_restore_drill"),
        }
    else:
        answers.sections["backups"] = None
        return
    for name, what, most in (
        ("last_backup", "backup", _BACKUP_SECONDS),
        ("last_drill", "restore drill", _DRILL_SECONDS),
    ):
        last = answers.sections["backups"][name]
        if last is None:
            answers.problems.append(f"there was no {what} yet")
        elif (age := (now - last).total_seconds()) > most:
            answers.problems.append(f"the last {what} was {age / 3600:.0f} hours ago")


def _by_store(settings: BackupSettings) -> dict[str, Any]:
    store = open_store(settings)
    names = backup_names(store)
    newest = next(_sound(store, names), None)
    return {
        "last_backup": newest and newest.taken_at,
        "last_drill": last_drill(store),
        "kept": len(names),
        "rows": newest and newest.rows,
        "bytes": newest and newest.size,
        "where": "folder" if isinstance(store, FolderStore) else "bucket",
    }


def _sound(store: Store, names: Sequence[str]) -> Iterator[Manifest]:
    """Those whose manifests are sound, read one by one."""
    for name in names:
        with suppress(UnusableBackupError):
            yield find_backup(store, name)


def _by_metrics(settings: BackupSettings, job: str) -> datetime | None:
    file = Path(settings.metrics_dir) / f"{job}_success.prom"
    if not file.is_file():
        return None
    for family in text_string_to_metric_families(file.read_text(encoding="utf-8")):
        for sample in family.samples:
            if sample.name == f"{job}_last_success_timestamp_seconds" and sample.value:
                return datetime.fromtimestamp(sample.value, UTC)
    return None
