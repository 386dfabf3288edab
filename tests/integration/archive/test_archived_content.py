"""What is read back of an archive is what was there, exactly."""

import gzip
import hashlib
import json

import pytest
from archiving import DECEMBER, JANUARY, TABLES, Months

from infrastructure.safekeeping.fingerprint import state_of


@pytest.mark.parametrize("table", TABLES)
def test_what_is_loaded_back_as_the_how_to_says_is_what_was_there(months: Months, table: str) -> None:
    expected = state_of(months.connection, f"{table}_2049_12")

    months.drop()

    archive = months.archives()[f"{table}_2049_12"]
    assert months.names() == set()
    assert (archive.starts, archive.ends, archive.state) == (DECEMBER, JANUARY, expected)
    assert archive.state.rows == archive.content.lines == 7
    assert state_of(months.connection, months.load(archive)) == expected


def test_lines_are_json_in_which_money_and_large_numbers_are_strings(months: Months) -> None:
    months.drop()

    archives = months.archives()
    lines = gzip.decompress(
        (months.folder / archives["signals_2049_12"].content.name).read_bytes()
    ).splitlines()
    amounts = {json.loads(line)["amount"] for line in lines}
    assert amounts == {"12345678901234567890123.4567890120", "0.10"}
    lines = gzip.decompress(
        (months.folder / archives["events_2049_12"].content.name).read_bytes()
    ).splitlines()
    assert {json.loads(line)["batch_id"] for line in lines} == {str(2**63 - 1)}


def test_the_manifest_says_what_sha256sum_says(months: Months) -> None:
    months.drop()
    for archive in months.archives().values():
        content = (months.folder / archive.content.name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == archive.content.sha256
        assert hashlib.sha256(gzip.decompress(content)).hexdigest() == archive.content.lines_sha256


def test_an_archive_takes_little_memory_whatever_its_partition_holds(months: Months) -> None:
    import tracemalloc

    months.connection.execute(
        "INSERT INTO events SELECT gen_random_uuid(), %s, 1, 7, n::text, 't', 'c', %s, NULL, repeat(md5(n::text), 40)"
        " FROM generate_series(1, 20000) AS n",
        (DECEMBER, DECEMBER),
    )
    tracemalloc.start()
    try:
        archive = months.keeper().keep(months.partition("events_2049_12"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert archive.content.lines == 20_007
    assert peak < 8 * 1024 * 1024  # of 28 MB
