"""Months that expire: dropped, with all that the other tables know of them."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from months import NOW, Connection, home_of, store

from common.database import partitions
from common.database.partitions import drop_expired, ensure_partitions, list_partitions, month_start


def names(connection: Connection) -> set[str]:
    return {partition.name for partition in list_partitions(connection)}


def test_expired_months_go_with_their_identities_and_refusals(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "_DELETE_BATCH", 2)
    ensure_partitions(connection, now=month_start(NOW, -2), ahead=2)
    cutoff = month_start(NOW, -1)
    old = [store(connection, cutoff - timedelta(microseconds=1 + n)) for n in range(5)]
    kept = store(connection, cutoff)
    for age, received_at in (("old", old), ("new", cutoff)):
        at = cutoff - timedelta(days=1) if received_at is old else cutoff
        connection.execute(
            "INSERT INTO rejected_events VALUES"
            " (%s, 1, %s, 't', 'c', NULL, %s, now(), 'unknown_type', 'unknown', '', '{}')",
            [uuid4(), age, at],
        )

    expired = drop_expired(connection, now=NOW, retention_months=1)

    assert {"events_2049_11", "signals_2049_11"} <= set(expired.partitions)
    assert (expired.rows["event_keys"], expired.rows["rejected_events"]) == (5, 1)
    assert {"events_2049_12", "signals_2049_12"} <= names(connection)
    assert connection.execute("SELECT event_key FROM event_keys").fetchall() == [(kept,)]
    assert connection.execute("SELECT event_id FROM rejected_events").fetchall() == [("new",)]


def test_expired_rows_leave_default_too(connection: Connection) -> None:
    old, kept = store(connection, month_start(NOW, -5)), store(connection, NOW)

    drop_expired(connection, now=NOW, retention_months=2)

    assert home_of(connection, "events", old) is home_of(connection, "signals", old) is None
    assert home_of(connection, "events", kept) == "events_default"


def test_without_a_retention_everything_stays(connection: Connection) -> None:
    key, before = store(connection, datetime(1999, 1, 1, tzinfo=UTC)), names(connection)

    assert drop_expired(connection, now=NOW, retention_months=0).partitions == []

    assert names(connection) == before
    assert home_of(connection, "events", key) == "events_default"
