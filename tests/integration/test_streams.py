"""The lanes on a real Redis."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import redis.exceptions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis
from redis.exceptions import ResponseError

from common.errors import QueueUnavailableError
from common.queue.lane_consumer import LaneConsumer
from common.queue.streams import (
    DEPTH_KEY,
    LANES,
    Record,
    decode_entry,
    depth,
    encode_entry,
    lane_of,
    oldest_ages,
)
from common.redis import open_redis, translated_errors

NOW = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    with open_redis(redis_url) as client:
        yield client


def push(client: Redis, tenant: int, *ids: str) -> None:
    client.xadd(lane_of(tenant), encode_entry(tenant, [Record(each, NOW, b"{}") for each in ids]))
    client.hincrby(DEPTH_KEY, lane_of(tenant), len(ids))


def consumer(client: Redis, name: str) -> LaneConsumer:
    one = LaneConsumer(client, name)
    one.create_groups()
    return one


records = st.lists(
    st.builds(
        Record,
        st.text(min_size=1, max_size=20),
        st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
        st.binary(max_size=50),
    ),
    min_size=1,
    max_size=5,
)


@given(st.integers(0, 2**31), records)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_entry_is_decoded_as_it_was_encoded(tenant: int, batch: list[Record]) -> None:
    entry = decode_entry(LANES[0], b"1-0", encode_entry(tenant, batch))

    assert (entry.tenant_id, list(entry.records)) == (tenant, batch)


def test_consecutive_tenants_use_different_lanes() -> None:
    assert len({lane_of(tenant) for tenant in range(1, 17)}) == len(LANES)


def test_a_read_takes_as_many_entries_of_every_lane(client: Redis) -> None:
    for number in range(10):
        push(client, 1, f"busy-{number}")
    push(client, 2, "quiet")

    entries = consumer(client, "a").read(3, 0)

    assert sorted(entry.tenant_id for entry in entries) == [1, 1, 1, 2]


def test_a_read_is_bounded_in_bytes_though_nobody_knows_what_is_coming(client: Redis) -> None:
    large = Record("e", NOW, b"x" * 200_000)
    for number in range(60):
        client.xadd(lane_of(number % 3), encode_entry(number % 3, [large]))
    most_bytes = 6_000_000
    one = consumer(client, "a")

    sizes = []
    while entries := one.read(128, 0, most_bytes=most_bytes):
        sizes.append(len(entries))
        one.acknowledge(entries)

    assert sum(sizes) == 60
    assert max(sizes) * 200_000 <= most_bytes
    assert sizes[0] > 3  # and not one by one


def test_small_entries_are_read_up_to_the_count_whatever_their_number_of_helpings(client: Redis) -> None:
    for number in range(50):
        push(client, 1, f"busy-{number}")
    push(client, 2, "quiet")

    entries = consumer(client, "a").read(40, 0, most_bytes=5_000_000)

    assert [record.event_id for entry in entries for record in entry.records if entry.tenant_id == 1] == [
        f"busy-{number}" for number in range(40)
    ]
    assert len(entries) == 41


def test_what_was_claimed_while_the_connection_broke_comes_with_the_next_read(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(client, 1, "e1")
    push(client, 2, "e2")
    consumer(client, "dead").read(5, 0)
    heir = consumer(client, "heir")
    claim = heir._claim

    def claim_and_lose_the_answer(**options: Any) -> None:
        claim(**options)
        raise redis.exceptions.ConnectionError

    monkeypatch.setattr(heir, "_claim", claim_and_lose_the_answer)
    with pytest.raises(QueueUnavailableError):
        heir.claim_orphans({"heir"}, 10)
    monkeypatch.undo()

    found = [*heir.read(5, 0), *heir.claim_orphans({"heir"}, 10)]
    assert sorted(record.event_id for entry in found for record in entry.records) == ["e1", "e2"]


def test_a_rescue_is_bounded_in_bytes(client: Redis) -> None:
    for _ in range(60):
        client.xadd(lane_of(1), encode_entry(1, [Record("e", NOW, b"x" * 100_000)]))
    consumer(client, "dead").read(60, 0)

    taken = consumer(client, "heir").claim_orphans({"heir"}, 1000, most_bytes=1_000_000)

    assert 10 <= len(taken) <= 10 + 16


def test_two_consumers_never_read_the_same_entry(client: Redis) -> None:
    push(client, 1, "e1")
    push(client, 1, "e2")

    first, second = consumer(client, "a").read(1, 0), consumer(client, "b").read(5, 0)

    assert {record.event_id for entry in (*first, *second) for record in entry.records} == {"e1", "e2"}
    assert len(first) == len(second) == 1


def test_depth_counts_events_until_they_are_acknowledged(client: Redis) -> None:
    push(client, 1, "e1", "e2", "e3")
    one = consumer(client, "a")
    entries = one.read(1, 0)
    assert depth(client) == {lane_of(1): 3}

    one.acknowledge(entries)
    one.acknowledge(entries)

    assert depth(client) == {}
    assert client.xlen(lane_of(1)) == 0


def test_what_a_dead_consumer_had_taken_is_claimed_once(client: Redis) -> None:
    push(client, 1, "e1")
    push(client, 2, "e2")
    consumer(client, "dead").read(5, 0)
    heirs = [consumer(client, name) for name in ("b", "c")]

    def claim() -> list[str]:
        return [
            record.event_id
            for heir in heirs
            for entry in heir.claim_orphans({"b", "c"}, 10)
            for record in entry.records
        ]

    assert sorted(claim()) == ["e1", "e2"]
    assert claim() == []


def test_a_dead_consumer_is_forgotten_only_when_nothing_is_pending_under_its_name(client: Redis) -> None:
    push(client, 1, "e1")
    consumer(client, "dead").read(5, 0)
    heir = consumer(client, "heir")
    taken = heir.claim_orphans({"heir"}, 10)
    heir.acknowledge(taken)

    heir.claim_orphans({"heir"}, 10)

    names = {found["name"] for lane in LANES for found in client.xinfo_consumers(lane, "workers")}
    assert b"dead" not in names


def test_leaving_with_entries_in_hand_keeps_them_claimable(client: Redis) -> None:
    push(client, 1, "e1")
    leaver = consumer(client, "leaver")
    leaver.read(5, 0)
    leaver.leave()

    assert consumer(client, "heir").claim_orphans({"heir"}, 10)


def test_an_entry_that_its_owner_finished_meanwhile_is_not_claimed(client: Redis) -> None:
    push(client, 1, "e1")
    slow = consumer(client, "slow")
    slow.acknowledge(slow.read(1, 0))

    assert consumer(client, "heir").claim_orphans({"heir"}, 10) == []


def test_a_redis_that_was_emptied_is_read_again(client: Redis) -> None:
    one = consumer(client, "a")
    client.flushdb()
    assert one.read(1, 0) == []
    push(client, 1, "e1")

    assert len(one.read(1, 0)) == 1


def test_ages_are_those_of_the_oldest_entries(client: Redis) -> None:
    client.xadd(lane_of(1), encode_entry(1, [Record("e1", NOW, b"{}")]), id="1-0")
    push(client, 2, "e2")

    ages = oldest_ages(client)

    assert ages[lane_of(1)] > 1_000_000
    assert 0 <= ages[lane_of(2)] < 60
    assert ages[lane_of(3)] == 0


def test_a_redis_that_is_away_is_said_to_be() -> None:
    with open_redis("redis://127.0.0.1:1/0") as nobody, pytest.raises(QueueUnavailableError):
        depth(nobody)


def test_depth_survives_what_someone_does_to_a_lane_by_hand(client: Redis) -> None:
    push(client, 1, "e1", "e2")
    client.delete(lane_of(1))
    assert depth(client) == {}

    push(client, 2, "e1")
    client.delete(DEPTH_KEY)
    assert depth(client) == {lane_of(2): 1}


def test_a_rescue_takes_about_what_was_asked_for(client: Redis) -> None:
    for number in range(100):
        push(client, 1, *(f"e{number}-{each}" for each in range(10)))
    consumer(client, "dead").read(128, 0)

    taken = consumer(client, "heir").claim_orphans({"heir"}, 200)

    assert 200 <= sum(len(entry.records) for entry in taken) <= 400


def test_a_flushed_redis_leaves_nothing_to_claim(client: Redis) -> None:
    heir = consumer(client, "heir")
    client.flushdb()

    assert heir.claim_orphans({"heir"}, 10) == []
    push(client, 1, "e1")
    assert len(heir.read(1, 0)) == 1


@pytest.mark.parametrize(
    "answer", ["MISCONF Errors writing to the AOF", "NOREPLICAS Not enough good replicas"]
)
def test_a_refusal_that_the_driver_has_no_class_for_is_passing_too(answer: str) -> None:
    with pytest.raises(QueueUnavailableError), translated_errors():
        raise ResponseError(answer)


def test_an_error_of_ours_is_not_taken_for_an_outage() -> None:
    with pytest.raises(ResponseError), translated_errors():
        raise ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")
