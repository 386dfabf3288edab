import hashlib
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from test_backup_manifest import MANIFEST

from infrastructure.backup.catalogue import list_backups, note_drill, prune
from infrastructure.backup.manifest import encode, manifest_name
from infrastructure.safekeeping.stores import FolderStore

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "backups", create=True)


def keep(store: FolderStore, days_ago: float, *, damaged: bool = False, drilled: bool = False) -> str:
    """A backup of so many days ago; returns its name."""
    taken_at = NOW - timedelta(days=days_ago)
    name = f"sspp-{taken_at:%Y%m%dT%H%M%SZ}-abcdef"
    content = name.encode() * 10
    manifest = replace(
        MANIFEST,
        name=name,
        taken_at=taken_at,
        dump=f"{name}.dump",
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    store.write(manifest.dump, content[:-1] if damaged else content)
    store.write(manifest_name(name), encode(manifest))
    if drilled:
        note_drill(store, manifest, taken_at)
    return name


def left(store: FolderStore) -> list[str]:
    return [each.name for each in list_backups(store)]


def pruned(store: FolderStore, keep_days: float = 7) -> list[str]:
    return list(prune(store, now=NOW, keep_days=keep_days).deleted)


def test_what_is_too_old_goes_with_all_that_belongs_to_it(store: FolderStore) -> None:
    old, new = keep(store, 8, drilled=True), keep(store, 1, drilled=True)
    assert pruned(store) == [old]
    assert left(store) == [new]
    assert not any(old in name for name in store.names())


def test_the_last_one_stays_however_old_it_is(store: FolderStore) -> None:
    keep(store, 400)
    last = keep(store, 300)
    pruned(store)
    assert left(store) == [last]


def test_damaged_ones_push_no_good_one_out(store: FolderStore) -> None:
    oldest, good = keep(store, 30), keep(store, 20)
    damaged = [keep(store, 1, damaged=True), keep(store, 9, damaged=True)]
    assert pruned(store) == [oldest]
    assert left(store) == [damaged[0], damaged[1], good]


def test_where_none_is_whole_none_is_deleted(store: FolderStore) -> None:
    names = {keep(store, days, damaged=True) for days in (1, 10, 20)}
    assert pruned(store) == []
    assert set(left(store)) == names


def test_the_last_one_that_a_drill_restored_stays_too(store: FolderStore) -> None:
    keep(store, 40, drilled=True)
    proved = keep(store, 30, drilled=True)
    keep(store, 20)
    newest = keep(store, 1)
    pruned(store)
    assert left(store) == [newest, proved]


def test_nothing_is_read_or_deleted_where_nothing_is_too_old(store: FolderStore) -> None:
    name = keep(store, 1, damaged=True)
    assert pruned(store) == []
    assert left(store) == [name]


def test_what_a_killed_run_left_is_removed_a_day_later(store: FolderStore, tmp_path: Path) -> None:
    staging = tmp_path / "backups" / ".staging-gone"
    staging.mkdir()
    with store.staging():
        assert staging.exists()
    os.utime(staging, (0, 0))
    with store.staging():
        assert not staging.exists()
