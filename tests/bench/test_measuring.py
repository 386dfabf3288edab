"""The suite's arithmetic and its workload are what they say."""

import json
from collections import Counter
from collections.abc import Callable

import pytest
from suite.events import CUSTOMERS, Event, Workload, distinct_valid
from suite.measuring import Comparison, in_turns, percentile

Compare = Callable[..., Comparison]


def test_a_ratio_is_one_of_medians_and_not_moved_by_an_outlier(compared: Compare) -> None:
    assert compared((60, 50, 1), (100, 900, 90)).ratio == 0.5


def test_a_spread_is_of_the_ratios_of_rounds(compared: Compare) -> None:
    assert compared((60, 50, 40), (100, 100, 50)).spread == (0.5, 0.8)


@pytest.mark.parametrize(
    ("goal", "better", "reached"),
    [
        (0.5, "higher", True),
        (0.51, "higher", False),
        (0.5, "lower", True),
        (0.49, "lower", False),
        (None, "higher", None),
    ],
)
def test_a_goal_is_reached_on_its_own_side(
    compared: Compare, goal: float | None, better: str, reached: bool | None
) -> None:
    assert compared((50,), (100,), goal=goal, better=better).reached is reached


def test_a_percentile_is_a_value_that_occurred() -> None:
    values = list(range(1, 101))
    assert [percentile(values, share) for share in (0.5, 0.95, 0.99, 1)] == [50, 95, 99, 100]
    assert percentile([7], 0.5) == 7


def test_contenders_take_turns_and_the_warm_up_does_not_count() -> None:
    turns: list[str] = []

    def contender(name: str, first: float) -> object:
        def figure(number: int) -> float:
            turns.append(f"{name}{number}")
            return first + number

        return figure

    found = in_turns({"a": contender("a", 10), "b": contender("b", 20)}, 3, unit="s")  # type: ignore[dict-item]
    assert turns == ["a0", "b0", "b1", "a1", "a2", "b2", "b3", "a3"]
    assert (found["a"].figures, found["b"].figures) == ((11, 12, 13), (21, 22, 23))


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return Workload("shares").events(20_000)


def test_events_are_of_realistic_size_and_mix(events: list[Event]) -> None:
    sizes = sorted(len(event.raw) for event in events)
    assert sizes[len(sizes) // 100] >= 300
    assert sizes[-len(sizes) // 100] <= 600
    kinds = Counter(json.loads(event.raw)["event_type"] for event in events)
    assert len(kinds) == 7
    assert max(kinds.values()) < len(events) / 2


def test_events_repeat_and_are_refused_in_the_shares_that_are_told(events: list[Event]) -> None:
    repeats = len(events) - len({event.event_id for event in events})
    assert repeats / len(events) == pytest.approx(0.03, abs=0.005)
    assert sum(not event.is_valid for event in events) / len(events) == pytest.approx(0.01, abs=0.003)


def test_half_of_the_repeats_come_from_anywhere_earlier(events: list[Event]) -> None:
    first = {event.event_id: number for number, event in reversed(list(enumerate(events)))}
    distances = [number - first[event.event_id] for number, event in enumerate(events)]
    repeats = [distance for distance in distances if distance]
    # Of those from anywhere, 40 % lie more than a worker's batch of 5,000 back in a run of 20,000.
    assert sum(distance > 5_000 for distance in repeats) / len(repeats) == pytest.approx(0.2, abs=0.06)


def test_a_repeated_event_is_the_same_byte_for_byte(events: list[Event]) -> None:
    assert len({event.raw for event in events}) == len({event.event_id for event in events})


def test_events_are_of_five_thousand_customers(events: list[Event]) -> None:
    customers = {json.loads(event.raw)["customer_id"] for event in events}
    assert 0.9 * CUSTOMERS < len(customers) <= CUSTOMERS


def test_an_event_follows_from_its_number_alone() -> None:
    assert Workload("again").events(100, first=400) == Workload("again").events(500)[400:]
    assert not {e.event_id for e in Workload("one").events(99)} & {
        e.event_id for e in Workload("two").events(99)
    }


def test_the_distinct_valid_events_are_those_that_must_be_stored(events: list[Event]) -> None:
    expected = distinct_valid(events)
    assert len({event.event_id for event in expected}) == len(expected)
    assert all(event.is_valid for event in expected)
