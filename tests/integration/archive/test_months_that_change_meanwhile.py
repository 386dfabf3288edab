"""A month that changes while it is archived is dropped only as its archive has it."""

from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from archiving import DECEMBER, MONTH, KeeperThatIsDisturbed, Months, store

from infrastructure.archive.errors import (
    ErasuresUnfinishedError,
    PartitionChangedError,
)


def test_a_partition_that_changed_since_it_was_archived_is_archived_anew_and_the_old_archive_goes(
    months: Months,
) -> None:
    old = months.keeper().keep(months.partition("events_2049_12"))
    months.connection.execute("DELETE FROM events WHERE customer_id = 'c-3'")

    months.drop()

    archive = months.archives()["events_2049_12"]
    assert archive.name != old.name
    assert archive.content.lines == 6
    assert not (months.folder / old.content.name).exists()


def test_a_row_that_comes_between_archiving_and_dropping_is_archived(
    months: Months, other_connection: psycopg.Connection[Any]
) -> None:
    late: list[UUID] = []
    keeper = months.keeper(KeeperThatIsDisturbed)
    keeper.disturb = lambda _: late or late.append(store(other_connection, DECEMBER))

    months.drop(keeper)
    other_connection.close()

    loaded = months.load(months.archives()["events_2049_12"])
    found = months.connection.execute(f"SELECT event_key FROM {loaded}").fetchall()
    assert (late[0],) in found
    assert len(found) == 8
    assert months.names() == set()


def test_a_partition_that_goes_on_changing_stays_with_its_identities(
    months: Months, other_connection: psycopg.Connection[Any]
) -> None:
    keeper = months.keeper(KeeperThatIsDisturbed)
    keeper.disturb = lambda _: store(other_connection, DECEMBER)

    with pytest.raises(PartitionChangedError, match="run this again"):
        months.drop(keeper)
    other_connection.close()

    assert "events_2049_12" in months.names()
    assert months.count("event_keys") == months.count("events") == 11


def test_nothing_is_archived_while_customers_are_to_be_erased(months: Months) -> None:
    add = (
        "INSERT INTO erasures (erasure_id, tenant_id, customer_hash, customer_id, erased_at, state)"
        " VALUES (%s, 7, %s, 'c-0', now(), 'events')"
    )
    months.connection.execute(add, (uuid4(), b"x" * 16))

    with pytest.raises(ErasuresUnfinishedError, match="1 erasures are not done"):
        months.drop()

    assert months.names() == MONTH
    assert list(months.folder.iterdir()) == []


def test_an_erasure_that_is_asked_for_while_a_month_is_archived_keeps_it(months: Months) -> None:
    keeper = months.keeper(KeeperThatIsDisturbed)
    keeper.disturb = lambda _: months.connection.execute(
        "INSERT INTO erasures (erasure_id, tenant_id, customer_hash, customer_id, erased_at)"
        " VALUES (gen_random_uuid(), 7, decode(repeat('00', 16), 'hex'), 'c-0', now())"
    )

    with pytest.raises(ErasuresUnfinishedError):
        months.drop(keeper)

    assert months.names() == MONTH
