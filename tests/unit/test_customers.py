from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from common.event_types.signal_type import SignalType
from common.scoring import heat
from worker.domains.domain import Event, Projection, Signal
from worker.store.customers import Profile, ProfileChange, customer_changes

NOW = datetime(2026, 11, 21, tzinfo=UTC)

fields = st.fixed_dictionaries(
    {},
    optional={
        "name": st.none() | st.text(max_size=3),
        "email": st.none() | st.text(max_size=3),
        "tags": st.lists(st.text(max_size=2), max_size=2),
        "custom_fields": st.dictionaries(st.sampled_from("abc"), st.none() | st.integers(0, 3)),
    },
)


def event(customer: str = "c1", occurred_at: datetime = NOW, event_type: str = "purchase") -> Event:
    return Event(1, bytes(15) + b"\1", "e1", event_type, customer, occurred_at, NOW, None, {})


def signal(
    signal_type: SignalType = SignalType.REVENUE, score: float = 1.0, revenue: str = "0"
) -> Projection:
    return Projection((Signal(signal_type, score, abs(Decimal(revenue)), "USD", Decimal(revenue)),))


def test_changes_add_up_per_customer_and_come_sorted() -> None:
    changes = customer_changes(
        [(event("b"), signal(revenue="2.50")), (event("a"), signal()), (event("b"), signal(revenue="-1.00"))]
    )

    assert list(changes) == [(1, "a"), (1, "b")]
    assert changes[(1, "b")].signal_count == 2
    assert changes[(1, "b")].totals == {"USD": Decimal("1.50")}


def test_first_and_last_seen_follow_occurred_at() -> None:
    early, late = NOW - timedelta(days=9), NOW + timedelta(days=9)
    (change,) = customer_changes(
        [(event(occurred_at=late), signal()), (event(occurred_at=early), signal())]
    ).values()

    assert (change.first_seen, change.last_seen) == (early, late)


def test_a_signal_from_the_future_counts_from_now() -> None:
    (change,) = customer_changes([(event(occurred_at=NOW + timedelta(days=9000)), signal())]).values()

    assert change.heat == heat(1.0, NOW)


def test_a_warning_of_churn_is_counted_but_makes_nobody_hot() -> None:
    (change,) = customer_changes([(event(), signal(SignalType.CHURN_RISK))]).values()

    assert change.signal_counts == {"churn_risk": 1}
    assert change.heat is None


@given(st.lists(fields, max_size=6), st.randoms())
def test_a_profile_is_the_same_whatever_the_order_of_its_changes(
    values: list[dict[str, Any]], random: Any
) -> None:
    changes = [ProfileChange((f"2020-01-0{number + 1}", "k"), value) for number, value in enumerate(values)]
    in_order, shuffled = Profile(), Profile()
    in_order.apply(changes)
    random.shuffle(changes)
    for change in changes:
        shuffled.apply([change])

    assert in_order == shuffled


def test_a_cleared_field_is_not_brought_back_by_an_older_value() -> None:
    profile = Profile()
    profile.apply([ProfileChange(("2020-01-02", "k"), {"email": None, "custom_fields": {"plan": None}})])
    profile.apply([ProfileChange(("2020-01-01", "k"), {"email": "old", "custom_fields": {"plan": "pro"}})])

    assert (profile.email, profile.custom_fields) == (None, {})


def test_the_same_change_twice_is_one() -> None:
    profile = Profile()
    change = ProfileChange(("2020-01-01", "k"), {"tags": ["a"]})
    profile.apply([change, change])

    assert profile.tags == ["a"]
