"""Entries that workers die of: kept apart, never dropped, and no hindrance to the rest."""

from collections.abc import Callable
from typing import Any

import pytest
from ingest_pipeline import IngestPipeline as Pipeline
from ingesting import LANE, drain, purchase, purchases
from redis import Redis
from structlog.testing import capture_logs

from common.queue.lane_consumer import GROUP, LaneConsumer
from common.queue.streams import DEPTH_KEY, depth
from common.queue.suspects import SUSPECT_DELIVERIES
from worker.ingest.stage import IngestStage

HOUR = 3_600_000


def taken_by(pipeline: Pipeline, name: str) -> list[bytes]:
    """The ids of all entries, which `name` takes and never acknowledges, in the lane's order."""
    consumer = LaneConsumer(pipeline.redis, name)
    consumer.create_groups()
    return [entry.entry_id for entry in consumer.read(2_000, 0)]


def delivered(client: Redis, entry_id: bytes, name: str, *, times: int, idle: int = 0) -> None:
    """Make Redis say that `name` was given the entry `idle` milliseconds ago, and that it was delivered so often."""
    client.xclaim(LANE, GROUP, name, 0, [entry_id], idle=idle, retrycount=times)


def deliveries(client: Redis) -> dict[bytes, int]:
    pending = client.xpending_range(LANE, GROUP, "-", "+", 10_000)
    return {one["message_id"]: one["times_delivered"] for one in pending}


def held(stage: IngestStage) -> list[str]:
    return [record.event_id for entry in stage._held for record in entry.records]


def test_each_take_over_counts_as_a_delivery(pipeline: Pipeline) -> None:
    pipeline.push(purchase("e1"))
    [entry_id] = taken_by(pipeline, "first")

    for number in range(2, 6):
        name = f"drain-{number}"
        assert len(LaneConsumer(pipeline.redis, name).claim_orphans({name}, 10)) == 1
        assert deliveries(pipeline.redis) == {entry_id: number}


def test_a_suspect_pauses_while_others_of_the_same_dead_worker_are_taken_over(pipeline: Pipeline) -> None:
    for number in range(3):
        pipeline.push(purchase(f"e{number}"), purchase(f"other-{number}"))
    first, *_ = taken_by(pipeline, "dead")
    delivered(pipeline.redis, first, "dead", times=SUSPECT_DELIVERIES)
    stage = pipeline.stage("heir")

    assert stage.rescue({"heir"}) == 4
    assert "e0" not in held(stage)
    drain(stage)

    assert stage.rescue({"heir"}) == 0
    assert stage.backlog() == 0  # so that a drain does not wake the next for what nobody may take
    assert depth(pipeline.redis) == {LANE: 2}  # nothing is lost


def test_the_backlog_counts_what_else_waits(pipeline: Pipeline) -> None:
    pipeline.push(purchase("e1"), purchase("e2"), purchase("e3"))
    [suspect] = taken_by(pipeline, "dead")
    delivered(pipeline.redis, suspect, "dead", times=SUSPECT_DELIVERIES + 3)
    pipeline.push(purchase("new-1"), purchase("new-2"))
    stage = pipeline.stage("heir")

    stage.rescue({"heir"})

    assert stage.backlog() == 2


def test_many_suspects_hide_nobody(pipeline: Pipeline) -> None:
    events = 350
    for number in range(events):
        pipeline.push(purchase(f"e{number}"))
    *suspects, last = taken_by(pipeline, "dead")
    transaction = pipeline.redis.pipeline()
    for each in suspects:
        delivered(transaction, each, "dead", times=SUSPECT_DELIVERIES)
    transaction.execute()
    heir = LaneConsumer(pipeline.redis, "heir")

    assert [entry.entry_id for entry in heir.claim_orphans({"heir"}, 1_000)] == [last]
    assert heir.pausing_events == events - 1


@pytest.mark.parametrize(
    ("times", "pause"),
    [
        (SUSPECT_DELIVERIES, 4_000),
        (SUSPECT_DELIVERIES + 1, 8_000),
        (SUSPECT_DELIVERIES + 6, 256_000),
        (SUSPECT_DELIVERIES + 7, 300_000),
        (5_000, 300_000),
    ],
)
def test_the_pause_doubles_up_to_five_minutes(pipeline: Pipeline, times: int, pause: int) -> None:
    pipeline.push(purchase("e1"))
    [suspect] = taken_by(pipeline, "dead")
    heir = LaneConsumer(pipeline.redis, "heir")

    # A margin for the time that the test itself takes.
    delivered(pipeline.redis, suspect, "dead", times=times, idle=pause - 3_000)
    assert heir.claim_orphans({"heir"}, 10) == []
    assert heir.claim_suspect() is None
    delivered(pipeline.redis, suspect, "dead", times=times, idle=pause)
    assert heir.claim_orphans({"heir"}, 10) == []
    claimed = heir.claim_suspect()

    assert claimed
    assert (claimed.entry.entry_id, claimed.deliveries) == (suspect, times)
    assert deliveries(pipeline.redis) == {suspect: times + 1}


def test_suspects_are_taken_alone_and_stored_if_they_do_no_harm(pipeline: Pipeline) -> None:
    for raw in purchases(3):
        pipeline.push(raw)
    for each in taken_by(pipeline, "dead"):
        delivered(pipeline.redis, each, "dead", times=SUSPECT_DELIVERIES, idle=HOUR)
    stage = pipeline.stage("heir")

    with capture_logs() as logs:
        for number in range(3):
            # Asks to be called again after the step, not a second later.
            assert stage.rescue({"heir"}) is None
            assert held(stage) == [f"e{number}"]
            assert stage.step(0) == 1

    assert stage.rescue({"heir"}) == 0
    assert pipeline.value("SELECT count(*) FROM events") == 3
    assert depth(pipeline.redis) == {}
    assert pipeline.redis.hvals(DEPTH_KEY) == [b"0"]
    lines = [line for line in logs if line["event"] == "entry_kills_workers"]
    assert [(line["log_level"], line["lane"], line["deliveries"]) for line in lines] == [
        ("error", LANE, SUSPECT_DELIVERIES)
    ] * 3
    assert pipeline.metrics.registry.get_sample_value("sspp_suspect_entries_claimed_total") == 3
    assert pipeline.metrics.registry.get_sample_value("sspp_entries_claimed_total") == 3


def test_a_suspect_waits_until_the_others_are_taken_over(pipeline: Pipeline) -> None:
    pipeline.push(purchase("suspect"))
    pipeline.push(purchase("innocent"))
    suspect, _ = taken_by(pipeline, "dead")
    delivered(pipeline.redis, suspect, "dead", times=SUSPECT_DELIVERIES, idle=HOUR)
    stage = pipeline.stage("heir")

    assert stage.rescue({"heir"}) == 1
    assert held(stage) == ["innocent"]
    assert stage.backlog() == 2  # the suspect is due, so there is work for the next drain
    stage.step(0)
    stage.rescue({"heir"})

    assert held(stage) == ["suspect"]


def test_two_rescuers_take_different_suspects(pipeline: Pipeline) -> None:
    for raw in purchases(2):
        pipeline.push(raw)
    for each in taken_by(pipeline, "dead"):
        delivered(pipeline.redis, each, "dead", times=SUSPECT_DELIVERIES, idle=HOUR)
    stages = [pipeline.stage(name) for name in ("heir-1", "heir-2", "heir-3")]

    for stage in stages:
        stage._consumer.claim_orphans({"heir-1", "heir-2", "heir-3"}, 10)  # all see both
    claimed = [stage._consumer.claim_suspect() for stage in stages]

    assert [found and found.entry.records[0].event_id for found in claimed] == ["e0", "e1", None]


def test_of_entries_that_die_together_only_the_guilty_one_is_left(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drains that are cut off as by SIGKILL whenever they process the guilty event."""
    for number in range(12):
        pipeline.push(purchase("guilty" if number == 5 else f"e{number}"))
    guilty = taken_by(pipeline, "drain-0")[5]
    process: Callable[..., None] = IngestStage._process

    def process_or_die(stage: IngestStage, batch: Any) -> None:
        if any(entry.entry_id == guilty for entry in batch.entries):
            raise KeyboardInterrupt
        process(stage, batch)

    monkeypatch.setattr(IngestStage, "_process", process_or_die)
    deaths = 0
    for number in range(1, 40):
        stage = pipeline.stage(f"drain-{number}")
        try:
            while stage.rescue({f"drain-{number}"}) != 0:
                stage.step(0)
        except KeyboardInterrupt:
            deaths += 1
        for each, times in deliveries(pipeline.redis).items():  # time passes, but less than the next pause
            owner = pipeline.redis.xpending_range(LANE, GROUP, each, each, 1)[0]["consumer"]
            delivered(pipeline.redis, each, owner, times=times, idle=5_000)

    assert deaths == SUSPECT_DELIVERIES
    assert pipeline.value("SELECT count(*) FROM events") == 11
    assert list(deliveries(pipeline.redis)) == [guilty]
    assert depth(pipeline.redis) == {LANE: 1}


def test_leaving_in_order_makes_nobody_a_suspect(pipeline: Pipeline) -> None:
    """While PostgreSQL is away for an hour, a hundred drains in a row hold the same entries and end."""
    pipeline.push(purchase("e1"))
    [entry_id] = taken_by(pipeline, "dead")

    for number in range(2 * SUSPECT_DELIVERIES):
        stage = pipeline.stage(f"drain-{number}")
        assert stage.rescue({f"drain-{number}"}) == 1
        stage.close()

    assert deliveries(pipeline.redis) == {entry_id: 1}


def test_a_suspect_that_was_removed_by_hand_is_gone(pipeline: Pipeline) -> None:
    pipeline.push(purchase("e1"))
    [suspect] = taken_by(pipeline, "dead")
    delivered(pipeline.redis, suspect, "dead", times=SUSPECT_DELIVERIES, idle=HOUR)
    stage = pipeline.stage("heir")

    pipeline.redis.xdel(LANE, suspect)

    assert stage.rescue({"heir"}) == 0
    assert stage.backlog() == 0
    assert stage.rescue({"heir"}) == 0
    assert deliveries(pipeline.redis) == {}
