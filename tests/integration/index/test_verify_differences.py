"""Whatever differs between PostgreSQL and the index: ``sspp verify`` names it, and repairs it if asked to."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from elasticsearch import Elasticsearch
from indexing import DATA, NOVEMBER, NOVEMBER_INDEX, OCTOBER, AddIndexed
from psycopg_pool import ConnectionPool
from verifying import Verify, change, delete, put

from common.search.template import ensure_template
from infrastructure.search import matching


def test_every_missing_stale_and_extra_document_is_named_and_repaired(
    pool: ConnectionPool, client: Elasticsearch, add_indexed: AddIndexed, verify: Verify
) -> None:
    ids = add_indexed(10)
    strayed, expired = add_indexed(2, tenant_id=7)
    (october,) = add_indexed(1, received_at=OCTOBER)
    source = client.get(index=NOVEMBER_INDEX, id=ids[2])["_source"]
    expected = set()

    lost = (ids[0], ids[4], ids[9], strayed)
    delete(client, *lost)
    for missing in lost:
        expected.add(("missing", NOVEMBER_INDEX, missing, 7 if missing == strayed else 1))
    # What says something else, in a field or deep in the data, lacks a field, or is of an older version.
    for stale, fields in (
        (ids[2], {"customer_id": "c-2"}),
        (ids[3], {"data": DATA | {"nested": [{"a": -1e20}, None, 1, ""]}}),
        (ids[5], {"data": DATA | {"many": 123456789012345678901234567890 * 2}}),
        (ids[6], {"signal_id": ids[7]}),
        (ids[1], {"received_at": "2026-11-02T00:00:00Z"}),
        (ids[7], {"received_at": None}),
    ):
        change(client, stale, fields)
        expected.add(("stale", NOVEMBER_INDEX, stale, 1))
    delete(client, ids[8])
    put(client, ids[8], source | {"signal_id": ids[8], "event_id": "1-8"}, version=0)
    expected.add(("stale", NOVEMBER_INDEX, ids[8], 1))
    # What nobody sent, what lies in the wrong month or under a wrong id, and what retention dropped.
    nobody = str(uuid4())
    for extra, body in (
        (nobody, source | {"signal_id": nobody, "tenant_id": 3}),
        (october, source | {"signal_id": october, "tenant_id": 3}),
        ("by hand", source | {"tenant_id": 3}),
        ("without an id", {"tenant_id": 3}),
        ("of another month", source | {"tenant_id": 3, "received_at": "2011-03-05T00:00:00Z"}),
        ("of the next month", source | {"tenant_id": 3, "received_at": "2026-12-01T00:00:00Z"}),
    ):
        put(client, extra, body)
        expected.add(("extra", NOVEMBER_INDEX, extra, 3))
    with pool.connection() as connection:
        connection.execute("DELETE FROM signals WHERE signal_id = %s", (UUID(expired),))
    expected.add(("extra", NOVEMBER_INDEX, expired, 7))

    verified = verify()
    assert verified.exit_code == 1
    assert verified.differences() == expected
    assert all(each[2] in verified.output for each in expected)
    details = {each["signal_id"]: each["detail"] for each in verified.records if each.get("kind") == "stale"}
    assert details[ids[2]] == "customer_id"
    assert details[ids[3]] == details[ids[5]] == "data"

    repaired = verify("--repair")
    assert repaired.exit_code == 0, repaired.output
    assert repaired.differences() == expected
    assert repaired.differences(look=2) == set()
    assert f"{len(expected)} differences repaired" in repaired.output

    again = verify()
    assert again.exit_code == 0
    assert again.total("documents") == again.total("signals") == 12


def test_differences_are_found_on_every_page(
    client: Elasticsearch, add_indexed: AddIndexed, verify: Verify
) -> None:
    ids = add_indexed(1100)
    lost = {ids[n] for n in (0, 498, 499, 500, 998, 999, 1000, 1098, 1099)}
    delete(client, *lost)

    assert {each[2] for each in verify().differences()} == lost

    assert verify("--repair").exit_code == 0
    assert verify().exit_code == 0


@pytest.mark.parametrize("most_held", [4, 5_000])
def test_instants_of_one_millisecond_are_told_apart_by_their_ids(
    most_held: int,
    client: Elasticsearch,
    add_indexed: AddIndexed,
    verify: Verify,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Which the index cannot do: and also if there are more of them than are held in memory."""
    monkeypatch.setattr(matching, "_MOST_HELD", most_held)
    ids = [
        each
        for microseconds in (-1, 0, 1, 2, 998, 999, 1000)
        for each in add_indexed(5, received_at=NOVEMBER + timedelta(microseconds=microseconds))
    ]
    assert verify().exit_code == 0
    expected = set()
    for lost in ids[3::7]:
        delete(client, lost)
        expected.add(("missing", NOVEMBER_INDEX, lost, 1))
    for stale in ids[4::7]:
        change(client, stale, {"customer_id": "c-2"})
        expected.add(("stale", NOVEMBER_INDEX, stale, 1))

    verified = verify("--repair")

    assert verified.differences() == expected
    assert sum(each["record"] == "difference" for each in verified.records) == len(expected)
    assert verified.total("documents") == len(ids) - 5
    assert verify().exit_code == 0


def test_a_month_without_an_index_is_missing_as_a_whole(
    client: Elasticsearch, add_indexed: AddIndexed, verify: Verify
) -> None:
    lost = add_indexed(600, received_at=OCTOBER)
    add_indexed(3)
    client.indices.delete(index="signals-2026-10")

    verified = verify("--limit", "5")

    assert verified.exit_code == 1
    assert {each[2] for each in verified.differences()} == set(lost)
    assert sum(each in verified.output for each in lost) == 5
    assert "595 more" in verified.output
    assert verify("--month", "2026-11").exit_code == 0
    assert verify("--repair", "--month", "2026-10").exit_code == 0
    assert verify().exit_code == 0


def test_what_elasticsearch_refused_is_named_so_and_tried_again(
    client: Elasticsearch, add_indexed: AddIndexed, verify: Verify
) -> None:
    # An index of another mapping stands in for content that a server refuses.
    ensure_template(client)
    client.indices.create(
        index=NOVEMBER_INDEX,
        mappings={"properties": {"customer_id": {"type": "date"}}},
        aliases={"signals": {}},
    )
    (refused,) = add_indexed(1, customer_id="no date", tenant_id=3)
    add_indexed(2, customer_id="2020-01-01")
    expected = {("refused", NOVEMBER_INDEX, refused, 3)}

    verified = verify()
    assert verified.exit_code == 1
    assert verified.differences() == expected
    assert "400: " in verified.output

    repaired = verify("--repair")
    assert repaired.exit_code == 1
    assert repaired.differences(look=2) == expected

    client.indices.delete(index=NOVEMBER_INDEX)
    assert verify("--repair").exit_code == 0
    assert verify().exit_code == 0


def test_an_index_that_searches_do_not_see_is_named_and_put_behind_the_alias(
    client: Elasticsearch, add_indexed: AddIndexed, verify: Verify
) -> None:
    add_indexed(2)
    client.indices.delete_alias(index=NOVEMBER_INDEX, name="signals")

    verified = verify()
    assert verified.exit_code == 1
    assert verified.differences() == {("hidden", NOVEMBER_INDEX, None, None)}

    assert verify("--repair").exit_code == 0
    assert client.count(index="signals")["count"] == 2


def test_an_index_that_should_not_answer_searches_is_too_much(
    client: Elasticsearch, add_indexed: AddIndexed, verify: Verify
) -> None:
    (stored,) = add_indexed(1)
    stray = f"{NOVEMBER_INDEX}-g9"
    client.indices.create(index=stray, aliases={"signals": {}})
    client.index(index=stray, id=stored, document=client.get(index=NOVEMBER_INDEX, id=stored)["_source"])

    verified = verify()
    assert verified.exit_code == 1
    assert verified.differences() == {("extra", stray, stored, 1)}

    assert verify("--repair").exit_code == 0
    client.indices.refresh(index="signals")
    assert client.count(index="signals")["count"] == 1
