"""Arrays built by hand are what PostgreSQL takes them for."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from worker.store import arrays

IDS = [uuid4() for _ in range(3)]
FIRST, LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)


@pytest.mark.parametrize(
    ("array", "element", "values"),
    [
        (arrays.uuids([each.bytes for each in IDS]), "uuid", IDS),
        (
            arrays.texts(["", 'a "b", {c}\\', None, "ü \U0001f600"]),
            "text",
            ["", 'a "b", {c}\\', None, "ü \U0001f600"],
        ),
        (arrays.jsonbs([b'{"a": [1.10]}', b"null"]), "jsonb", [{"a": [1.1]}, None]),
        (arrays.integers([0, -1, 2**31 - 1]), "integer", [0, -1, 2**31 - 1]),
        (arrays.bigints([-(2**63), 2**63 - 1]), "bigint", [-(2**63), 2**63 - 1]),
        (arrays.doubles([0.1, None, 1e308]), "double precision", [0.1, None, 1e308]),
        (arrays.instants([FIRST, LAST]), "timestamptz", [FIRST, LAST]),
        (arrays.uuids([]), "uuid", []),
        (arrays.texts([None]), "text", [None]),
        (arrays.byteas([b"", b"\0\xff\\x"]), "bytea", [b"", b"\0\xff\\x"]),
    ],
)
def test_an_array_arrives_as_it_was_made(
    postgres_server: str, array: arrays.Array, element: Any, values: list[Any]
) -> None:
    with psycopg.connect(postgres_server) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        rows = connection.execute(f"SELECT * FROM unnest(%s::{element}[])", (array,)).fetchall()

    assert [row[0] for row in rows] == values


def test_arrays_of_several_types_go_with_one_statement(postgres_server: str) -> None:
    with psycopg.connect(postgres_server) as connection:
        for _ in range(10):  # beyond the number after which psycopg prepares it
            row = connection.execute(
                "SELECT %(ids)s::uuid[], %(names)s::text[], %(counts)s::integer[]",
                {
                    "ids": arrays.uuids([IDS[0].bytes]),
                    "names": arrays.texts(["n"]),
                    "counts": arrays.integers([7]),
                },
            ).fetchone()

    assert row == ([UUID(bytes=IDS[0].bytes)], ["n"], [7])
