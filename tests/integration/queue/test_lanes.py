"""The lanes on a real Redis: how entries are written, read, counted and aged."""

from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lanes import NOW, consumer, push, push_records
from redis import Redis
from redis.exceptions import ResponseError

from common.errors import QueueUnavailableError
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
        push_records(client, number % 3, [large])
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


def test_depth_survives_what_someone_does_to_a_lane_by_hand(client: Redis) -> None:
    push(client, 1, "e1", "e2")
    client.delete(lane_of(1))
    assert depth(client) == {}

    push(client, 2, "e1")
    client.delete(DEPTH_KEY)
    assert depth(client) == {lane_of(2): 1}


def test_ages_are_those_of_the_oldest_entries(client: Redis) -> None:
    client.xadd(lane_of(1), encode_entry(1, [Record("e1", NOW, b"{}")]), id="1-0")
    push(client, 2, "e2")

    ages = oldest_ages(client)

    assert ages[lane_of(1)] > 1_000_000
    assert 0 <= ages[lane_of(2)] < 60
    assert ages[lane_of(3)] == 0


def test_a_redis_that_was_emptied_is_read_again(client: Redis) -> None:
    one = consumer(client, "a")
    client.flushdb()
    assert one.read(1, 0) == []
    push(client, 1, "e1")

    assert len(one.read(1, 0)) == 1


def test_a_redis_that_is_away_is_said_to_be() -> None:
    with open_redis("redis://127.0.0.1:1/0") as nobody, pytest.raises(QueueUnavailableError):
        depth(nobody)


@pytest.mark.parametrize(
    "answer", ["MISCONF Errors writing to the AOF", "NOREPLICAS Not enough good replicas"]
)
def test_a_refusal_that_the_driver_has_no_class_for_is_passing_too(answer: str) -> None:
    with pytest.raises(QueueUnavailableError), translated_errors():
        raise ResponseError(answer)


def test_an_error_of_ours_is_not_taken_for_an_outage() -> None:
    with pytest.raises(ResponseError), translated_errors():
        raise ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")
