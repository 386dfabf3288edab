"""The count of the bytes in the queue, on a real Redis: right whatever happens to entries and workers."""

import asyncio
import random
from collections import Counter

import pytest
from lanes import NOW, consumer, push_records
from redis import Redis

from common.errors import QueueUnavailableError
from common.queue.queued_bytes import BYTES_KEY, QueuedBytes, QueueMeter
from common.queue.streams import (
    STREAMS,
    WITHHELD_KEY,
    Entry,
    Record,
    busy_lane_of,
    depth,
    encode_entry,
    lane_of,
)
from common.redis import open_async_redis, translated_errors


def push_raws(client: Redis, tenant: int, *raws: bytes, stream: str | None = None) -> int:
    """Push an entry of these events, into the tenant's lane unless told; returns what it counts for."""
    records = [Record(f"e{number}", NOW, raw) for number, raw in enumerate(raws)]
    return push_records(client, tenant, records, stream=stream)


def measure(redis_url: str) -> QueuedBytes:
    async def read() -> QueuedBytes:
        async with open_async_redis(redis_url) as client:
            return await QueueMeter(client, streams=STREAMS, withheld=WITHHELD_KEY).read()

    return asyncio.run(read())


def counted(client: Redis) -> dict[str, int]:
    return {field.decode(): int(size) for field, size in client.hgetall(BYTES_KEY).items()}


def test_bytes_count_from_the_push_to_the_acknowledgement(client: Redis, redis_url: str) -> None:
    size = push_raws(client, 1, b"x" * 100, b"y" * 50)
    assert size > 150
    one = consumer(client, "a")
    entries = one.read(1, 0)
    assert counted(client) == {"1": size, "total": size}

    one.acknowledge(entries)

    assert counted(client) == {"drained": size}
    found = measure(redis_url)
    assert (dict(found.tenants), found.total, found.drained) == ({}, 0, size)


def test_an_entry_that_two_workers_finish_is_counted_off_once(client: Redis) -> None:
    first, second = push_raws(client, 1, b"x" * 100), push_raws(client, 17, b"y" * 70)  # in the same lane
    slow, heir = consumer(client, "slow"), consumer(client, "heir")
    [taken] = slow.read(1, 0)
    [claimed] = heir.claim_orphans({"heir"}, 10)

    heir.acknowledge([claimed])
    slow.acknowledge([taken])
    slow.acknowledge([taken])

    assert counted(client) == {"17": second, "total": second, "drained": first}


def test_entries_of_a_release_that_did_not_count_are_worth_nothing(client: Redis) -> None:
    fields = encode_entry(1, [Record("old", NOW, b"x" * 500)])
    del fields[b"bytes"]
    client.xadd(lane_of(1), fields)
    size = push_raws(client, 1, b"new")
    one = consumer(client, "a")

    one.acknowledge(one.read(1, 0))
    assert counted(client) == {"1": size, "total": size}
    one.acknowledge(one.read(1, 0))

    assert counted(client) == {"drained": size}


def test_no_count_falls_below_zero(client: Redis) -> None:
    push_raws(client, 1, b"x" * 100)
    client.delete(BYTES_KEY)
    one = consumer(client, "a")

    one.acknowledge(one.read(1, 0))

    assert set(counted(client)) == {"drained"}


def test_what_is_counted_for_nothing_is_dropped_when_it_is_measured(client: Redis, redis_url: str) -> None:
    push_raws(client, 1, b"x" * 100)
    kept, withheld = push_raws(client, 2, b"y" * 50), push_raws(client, 3, b"z" * 40)
    client.delete(lane_of(1), lane_of(3))
    client.hset(WITHHELD_KEY, "3", 1)

    found = measure(redis_url)

    assert (dict(found.tenants), found.total) == ({2: kept, 3: withheld}, kept + withheld)
    assert counted(client) == {"2": kept, "3": withheld, "total": kept + withheld}


def test_what_lies_in_either_stream_of_a_lane_counts(client: Redis, redis_url: str) -> None:
    size = push_raws(client, 1, b"x" * 100, stream=busy_lane_of(1))

    assert measure(redis_url).tenants == {1: size}


def test_a_redis_that_was_emptied_counts_from_zero(client: Redis, redis_url: str) -> None:
    push_raws(client, 1, b"x" * 100)
    one = consumer(client, "a")
    entries = one.read(1, 0)
    client.flushdb()

    one.acknowledge(entries)

    assert measure(redis_url) == QueuedBytes({}, 0, 0, (0.0,) * len(STREAMS))


def test_the_age_is_that_of_the_oldest_entry_of_each_lane(client: Redis, redis_url: str) -> None:
    client.xadd(lane_of(1), encode_entry(1, [Record("e1", NOW, b"{}")]), id="1-0")
    push_raws(client, 2, b"{}")

    ages = measure(redis_url).oldest_seconds

    assert ages[1] > 1_000_000
    assert 0 <= ages[2] < 60
    assert ages[3] == 0


@pytest.mark.parametrize("seed", range(3))
def test_after_any_mixture_of_pushes_deaths_and_repetitions_the_count_is_what_lies_in_the_lanes(
    client: Redis, redis_url: str, seed: int
) -> None:
    dice = random.Random(seed)
    workers = {name: consumer(client, name) for name in ("a", "b", "c")}
    taken: list[Entry] = []
    pushed = 0
    for _ in range(150):
        worker = workers[dice.choice("abc")]
        match dice.choice(("push", "push", "read", "claim", "acknowledge")):
            case "push":
                events = [b"x" * dice.randrange(200) for _ in range(dice.randrange(1, 4))]
                tenant = dice.choice((1, 2, 17))
                stream = dice.choice((lane_of, busy_lane_of))(tenant)
                pushed += push_raws(client, tenant, *events, stream=stream)
            case "read":
                taken += worker.read(dice.randrange(1, 3), 0)
            case "claim":
                taken += worker.claim_orphans({worker.name}, 5)
                worker.create_groups()
            case "acknowledge" if taken:  # some of them once more, or after another worker did
                worker.acknowledge(dice.choices(taken, k=3))

    lying = Counter[int]()
    for lane in STREAMS:
        for _, fields in client.xrange(lane):
            lying[int(fields[b"tenant"])] += len(fields[b"records"])
    found = measure(redis_url)
    assert (dict(found.tenants), found.total) == (dict(lying), lying.total())
    assert found.drained == pushed - lying.total()


def test_at_its_memory_limit_redis_still_lets_workers_drain(client: Redis, redis_url: str) -> None:
    for _ in range(20):
        push_raws(client, 1, b"x" * 1000)
    one, before = consumer(client, "a"), client.config_get("maxmemory")["maxmemory"]
    one.read(1, 0)  # loads what a running drain has used before
    heir = consumer(client, "heir")
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(QueueUnavailableError), translated_errors():
            push_raws(client, 1, b"one more")
        entries = heir.claim_orphans({"heir"}, 100)
        while found := heir.read(5, 0):
            entries += found
        heir.acknowledge(entries)
        assert measure(redis_url).total == 0
    finally:
        client.config_set("maxmemory", before)

    assert depth(client) == {}
