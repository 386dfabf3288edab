from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.backup.errors import WrongVersionError
from infrastructure.backup.manifest import Manifest, backup_of, decode, encode
from infrastructure.safekeeping.errors import CorruptedBackupError
from infrastructure.safekeeping.fingerprint import TableState, differences
from infrastructure.safekeeping.seal import seal, unseal

NAME = "sspp-20261122T031500Z-1f2e3d"
MANIFEST = Manifest(
    name=NAME,
    format=1,
    taken_at=datetime(2026, 11, 22, 3, 15, 0, 123456, UTC),
    dump=f"{NAME}.dump",
    size=12_345,
    sha256="ab" * 32,
    encryption=None,
    server_version=180_001,
    owner="sspp_migrator",
    release="0.1.0",
    migrations={number: (f"m{number}", "ff") for number in range(1, 13)},
    newest_event=None,
    tables={
        "events": TableState(3, "-170141183460469231731687303715884105728"),
        "tenants": TableState(1, "0"),
    },
)


def test_a_manifest_says_what_was_written() -> None:
    assert decode(NAME, encode(MANIFEST)) == MANIFEST
    assert MANIFEST.rows == 4
    assert MANIFEST.schema_version == 12


@given(st.data())
def test_no_changed_byte_goes_unnoticed(data: st.DataObject) -> None:
    content = bytearray(encode(MANIFEST))
    place = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda each: each != content[place]))
    content[place] = byte
    with suppress(CorruptedBackupError):
        assert decode(NAME, bytes(content)) == MANIFEST  # white space may differ


@given(st.integers(0, len(encode(MANIFEST)) - 1))
def test_no_missing_end_goes_unnoticed(length: int) -> None:
    with pytest.raises(CorruptedBackupError):
        decode(NAME, encode(MANIFEST)[:length])


def test_the_manifest_of_another_backup_is_refused() -> None:
    with pytest.raises(CorruptedBackupError, match="is that of"):
        decode("sspp-20261122T031500Z-000000", encode(MANIFEST))


def test_a_newer_format_is_told_as_such() -> None:
    newer = seal(unseal(encode(MANIFEST), NAME) | {"format": 2, "something": "new"})
    with pytest.raises(WrongVersionError):
        decode(NAME, newer)


@pytest.mark.parametrize(
    ("object_name", "backup"),
    [
        (f"{NAME}.json", NAME),
        (f"{NAME}.dump", None),
        ("revocations.json", None),
        (f"other-{NAME}.json", None),
        (NAME, None),
    ],
)
def test_only_manifests_are_taken_for_backups(object_name: str, backup: str | None) -> None:
    assert backup_of(object_name) == backup


def test_differences_name_each_table() -> None:
    expected = {
        "a": TableState(1, "1"),
        "b": TableState(2, "2"),
        "c": TableState(3, "3"),
        "same": TableState(0, "0"),
    }
    found = {
        "b": TableState(4, "2"),
        "c": TableState(3, "4"),
        "d": TableState(1, "1"),
        "same": TableState(0, "0"),
    }
    assert differences(expected, found) == [
        "a is missing",
        "b has 4 rows instead of 2",
        "c has as many rows, but others",
        "d is not in the backup",
    ]
