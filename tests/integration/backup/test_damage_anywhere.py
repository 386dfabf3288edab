"""Wherever a backup is damaged, it is found out before a database is touched, and told apart: at random places."""

import hashlib
import random
from pathlib import Path

import pytest
from backing_up import Site, failed_with
from people import event

SEED = 20261122
FLIPS, CUTS, HIDDEN = 200, 100, 12


@pytest.fixture
def dump(site: Site) -> Path:
    site.people.send(*(event(f"e{number}") for number in range(20)))
    return site.dump(site.backup()["name"])


def _flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_no_flipped_bit_of_a_dump_goes_unnoticed(site: Site, dump: Path) -> None:
    content, chance = dump.read_bytes(), random.Random(SEED)
    for _ in range(FLIPS):
        bit = chance.randrange(8 * len(content))
        dump.write_bytes(_flipped(content, bit))
        assert failed_with(site.run("restore", "--check", "--quiet")) == "backup_corrupted", bit
    dump.write_bytes(content)
    assert site.run("restore", "--check", "--quiet").exit_code == 0


def test_no_missing_end_of_a_dump_goes_unnoticed(site: Site, dump: Path) -> None:
    content, chance = dump.read_bytes(), random.Random(SEED)
    for length in [0, 1, len(content) - 1, *(chance.randrange(len(content)) for _ in range(CUTS))]:
        dump.write_bytes(content[:length])
        expected = "backup_truncated" if length else "backup_empty"
        assert failed_with(site.run("restore", "--check", "--quiet")) == expected, length


def test_what_is_added_to_a_dump_does_not_go_unnoticed(site: Site, dump: Path) -> None:
    dump.write_bytes(dump.read_bytes() + b"\0")
    assert failed_with(site.run("restore", "--check", "--quiet")) == "backup_corrupted"


@pytest.mark.timeout(600)
def test_what_broke_before_it_was_measured_never_restores_to_other_rows(site: Site, dump: Path) -> None:
    """As memory that fails between pg_dump and the checksum would have it: only loading it can tell."""
    content, chance, ends = dump.read_bytes(), random.Random(SEED), []
    for _ in range(HIDDEN):
        bit = chance.randrange(8 * len(content))
        damaged = _flipped(content, bit)
        dump.write_bytes(damaged)
        site.rewrite(dump.stem, sha256=hashlib.sha256(damaged).hexdigest())
        before = site.databases()
        done = site.restore("--drill")
        # A drill that succeeds has compared every row: the bit was of no account, as one of the header's date is.
        ends.append("restores" if done.exit_code == 0 else failed_with(done))
        assert site.databases() == before
    assert set(ends) <= {"restores", "backup_failed", "backup_corrupted", "backup_restored_differently"}
    assert len([end for end in ends if end != "restores"]) > HIDDEN // 2, ends
