"""What a batch changes is worked out ahead, and is the same as if it had been worked out late."""

from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from common.envelope import event_key_bytes
from common.event_types.signal_type import SignalType
from worker.domains.domain import Event, Projection, Signal
from worker.store.candidates import Candidates
from worker.validation.events import ValidEvent

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def valid(event_id: str, customer: str, amount: int = 1) -> ValidEvent:
    key = event_key_bytes(1, event_id)
    event = Event(1, key, event_id, "purchase", customer, NOW, NOW, None, {})
    money = Decimal(amount)
    projection = Projection((Signal(SignalType.REVENUE, 1.0, money, "USD", money),))
    return ValidEvent(event, projection, event_id.encode(), b"{}")


events = st.lists(st.builds(valid, st.sampled_from("abcdefghij"), st.sampled_from("xyz"), st.integers(0, 99)))


@given(events, st.sets(st.sampled_from("abcdefghij")))
def test_changes_worked_out_ahead_leave_out_what_turns_out_to_be_known(
    batch: list[ValidEvent], known_ids: set[str]
) -> None:
    ahead, late = Candidates(batch), Candidates(batch)
    ahead.work_ahead()
    known = {key for key, each in ahead.first.items() if each.event.event_id in known_ids}

    changes = ahead.customer_changes(known)

    assert dict(changes) == dict(late.customer_changes(known))
    assert list(changes) == sorted(changes)


def test_an_event_that_comes_again_in_the_batch_is_told_with_the_text_of_the_first() -> None:
    candidates = Candidates([valid("a", "x", 1), valid("b", "x"), valid("a", "x", 2)])

    assert [each.event.event_id for each in candidates.first.values()] == ["a", "b"]
    ((again, first),) = candidates.repeated
    assert (again.projection.signals[0].amount, first) == (2, b"a")


def test_halves_are_the_same_events() -> None:
    candidates = Candidates([valid(name, "x") for name in "abcde"])
    one, other = candidates.halves()

    assert [each.event.event_id for half in (one, other) for each in half] == list("abcde")
    assert len(one) + len(other) == len(candidates)
