"""What a consumer that died had taken comes into other hands, once and in portions."""

from typing import Any

import pytest
import redis.exceptions
from lanes import NOW, consumer, push, push_records
from redis import Redis

from common.errors import QueueUnavailableError
from common.queue.streams import STREAMS, Record


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

    names = {found["name"] for lane in STREAMS for found in client.xinfo_consumers(lane, "workers")}
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
        push_records(client, 1, [Record("e", NOW, b"x" * 100_000)])
    consumer(client, "dead").read(60, 0)

    taken = consumer(client, "heir").claim_orphans({"heir"}, 1000, most_bytes=1_000_000)

    assert 10 <= len(taken) <= 10 + 16


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
