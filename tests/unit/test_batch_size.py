from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from common.queue.streams import Entry, Record
from worker.ingest.batch_size import MOST_ENTRIES_OF_A_LANE, ReadSize, next_batch

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def entry(events: int, size: int = 10) -> Entry:
    return Entry("lane", b"1-0", 1, tuple(Record("e", NOW, b"x" * size) for _ in range(events)))


@given(st.lists(st.integers(1, 128), max_size=60), st.integers(1, 500))
def test_a_batch_takes_from_the_front_and_stays_within_its_limit(sizes: list[int], most: int) -> None:
    held = [entry(size) for size in sizes]
    batch = next_batch(held, most_events=most)

    assert batch == held[: len(batch)]
    assert bool(batch) == bool(held)
    assert len(batch) <= 1 or sum(sizes[: len(batch)]) <= most
    assert len(batch) == len(held) or sum(sizes[: len(batch) + 1]) > most


def test_a_batch_is_bounded_in_bytes_too() -> None:
    held = [entry(1, 400), entry(1, 400), entry(1, 400)]

    assert len(next_batch(held, most_events=100, most_bytes=1000)) == 2
    assert len(next_batch(held, most_events=100, most_bytes=100)) == 1


def test_small_entries_are_read_by_the_hundred_and_large_ones_one_by_one() -> None:
    size = ReadSize(2000)
    for _ in range(20):
        size.follow([entry(1)] * size.entries_of_a_lane)
    assert size.entries_of_a_lane == MOST_ENTRIES_OF_A_LANE

    for _ in range(5):
        size.follow([entry(128)] * size.entries_of_a_lane * 16)
    assert size.entries_of_a_lane == 1


def test_what_is_idle_learns_nothing() -> None:
    size = ReadSize(2000)
    size.follow([])

    assert size.entries_of_a_lane == 1
