import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.event_types.signal_type import SignalType
from worker.domains.domain import Event, Projection, Signal
from worker.domains.sales import DOMAIN
from worker.domains.sales.projection import project
from worker.domains.sales.reference import render
from worker.domains.sales.rules import RULES

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "sales_signals.md"
VALIDATORS = {each.name: jsonschema_rs.validator_for(dict(each.schema)) for each in DOMAIN.event_types}
PRICED = sorted(VALIDATORS.keys() - {"customer_updated"})

amounts = st.decimals(min_value=0, max_value=Decimal("999999999999999.99999999999999999999")).filter(
    lambda amount: -20 <= int(amount.as_tuple().exponent) <= 15
) | st.integers(0, 10**15 - 1)
# A busy machine is slow, not wrong.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
currencies = st.sampled_from(["USD", "EUR", "JPY", "KWD"])
numbers = st.integers() | st.decimals(allow_nan=False, allow_infinity=False)
texts = st.sampled_from(
    ["", "Interested", "no show", "Quote!", "https://[/checkout?x", "\ud7ff ß İ"]
) | st.text("aZé ?/#_-:", max_size=12)


def project_data(event_type: str, data: Mapping[str, Any]) -> Projection:
    assert VALIDATORS[event_type].is_valid(data), f"{event_type} refuses {data}"
    return project(
        Event(
            tenant_id=1,
            event_key=(256).to_bytes(16),
            event_id="e-1",
            event_type=event_type,
            customer_id="c-1",
            occurred_at=datetime(1997, 1, 1, tzinfo=UTC),
            received_at=datetime(2024, 1, 3, tzinfo=UTC),
            trace_id=None,
            data=data,
        )
    )


def signal_of(event_type: str, data: Mapping[str, Any]) -> Signal:
    projection = project_data(event_type, data)
    assert projection.profile is None
    (signal,) = projection.signals
    return signal


def test_every_type_has_rules_and_only_the_last_of_them_always_holds() -> None:
    assert RULES.keys() == VALIDATORS.keys()
    for rules in RULES.values():
        assert [rule.when is None for rule in rules] == [False] * (len(rules) - 1) + [True] * bool(rules)
    assert [name for name, rules in RULES.items() if not rules] == ["customer_updated"]


def test_rules_ask_only_for_fields_that_the_schema_types() -> None:
    for event_type in DOMAIN.event_types:
        for rule in RULES[event_type.name]:
            asked = set(re.findall("`(.+?)`", str(rule.when)))
            assert asked <= event_type.schema["properties"].keys()


def test_money_has_one_definition_in_all_schemas() -> None:
    definitions: dict[str, set[str]] = {"amount": set(), "currency": set()}
    for name in PRICED:
        (schema,) = (each.schema for each in DOMAIN.event_types if each.name == name)
        for field, seen in definitions.items():
            definition = {
                key: value for key, value in schema["properties"][field].items() if key != "description"
            }
            seen.add(json.dumps(definition, sort_keys=True))
        assert "amount" in schema.get("required", ()) or "amount" in schema["dependentRequired"]
    assert {field: len(seen) for field, seen in definitions.items()} == {"amount": 1, "currency": 1}


def test_the_reference_page_is_what_the_rules_and_schemas_say() -> None:
    assert REFERENCE.read_text(encoding="utf-8") == render(), (
        "run: python -m worker.domains.sales.reference > docs/reference/sales_signals.md"
    )


@pytest.mark.parametrize(
    ("event_type", "data", "signal_type", "score"),
    [
        ("email_sent", {}, SignalType.OUTREACH, 0.05),
        ("email_opened", {}, SignalType.ENGAGEMENT, 0.2),
        ("email_clicked", {}, SignalType.HIGH_ENGAGEMENT, 0.4),
        ("email_clicked", {"url": "https://example.com/blog?ref=pricing"}, SignalType.HIGH_ENGAGEMENT, 0.4),
        ("email_clicked", {"url": "https://example.com/Pricing"}, SignalType.HIGH_ENGAGEMENT, 0.6),
        ("call_made", {"outcome": "no_answer"}, SignalType.OUTREACH, 0.1),
        ("call_made", {"outcome": "Connected"}, SignalType.ENGAGEMENT, 0.3),
        ("call_made", {"outcome": "not interested"}, SignalType.ENGAGEMENT, 0.3),
        ("call_made", {"outcome": "interested"}, SignalType.HIGH_ENGAGEMENT, 0.6),
        ("call_made", {"direction": "inbound"}, SignalType.ENGAGEMENT, 0.3),
        ("call_made", {"duration_seconds": 120}, SignalType.ENGAGEMENT, 0.3),
        ("call_made", {"duration_seconds": Decimal("119.9")}, SignalType.OUTREACH, 0.1),
        ("page_viewed", {"url": "https://example.com/blog"}, SignalType.ENGAGEMENT, 0.1),
        ("page_viewed", {"url": "https://example.com/underpricing"}, SignalType.ENGAGEMENT, 0.1),
        ("page_viewed", {"url": "https://example.com/de/pricing?plan=a"}, SignalType.INTENT, 0.5),
        ("page_viewed", {"path": "/checkout/2"}, SignalType.INTENT, 0.6),
        ("inquiry", {"message": "In order to visit you, when are you open?"}, SignalType.INTENT, 0.6),
        ("inquiry", {"subject": "A QUOTE, please"}, SignalType.HIGH_INTENT, 0.8),
        ("inquiry", {"message": "We have the budget."}, SignalType.HIGH_INTENT, 0.8),
        ("inquiry", {"message": "Hello", "priority": "High"}, SignalType.HIGH_INTENT, 0.85),
        ("cart_abandoned", {}, SignalType.INTENT, 0.5),
        ("cart_abandoned", {"stage": "payment"}, SignalType.INTENT, 0.7),
        ("meeting_booked", {}, SignalType.HIGH_INTENT, 0.8),
        ("demo_requested", {}, SignalType.HIGH_INTENT, 0.85),
        ("demo_completed", {}, SignalType.HIGH_INTENT, 0.7),
        ("demo_completed", {"outcome": "interested"}, SignalType.HIGH_INTENT, 0.9),
        ("demo_completed", {"outcome": "No-Show"}, SignalType.ENGAGEMENT, 0.2),
        ("quote_sent", {}, SignalType.OUTREACH, 0.3),
        ("quote_accepted", {}, SignalType.HIGH_INTENT, 0.95),
        ("purchase", {"amount": 0, "currency": "USD"}, SignalType.REVENUE, 1.0),
        ("refund", {"amount": 5, "currency": "USD"}, SignalType.CHURN_RISK, 0.6),
        ("refund", {"amount": 5, "currency": "USD", "full": True}, SignalType.CHURN_RISK, 0.8),
        ("subscription_cancelled", {"reason": "too_expensive"}, SignalType.CHURN_RISK, 0.9),
        ("subscription_cancelled", {"reason": "Payment failed"}, SignalType.CHURN_RISK, 0.6),
    ],
)
def test_the_rules_give_the_documented_signal(
    event_type: str, data: dict[str, Any], signal_type: SignalType, score: float
) -> None:
    signal = signal_of(event_type, data)
    assert (signal.signal_type, signal.score) == (signal_type, score)


@pytest.mark.parametrize("event_type", PRICED)
def test_only_purchases_and_refunds_touch_the_total(event_type: str) -> None:
    signal = signal_of(event_type, {"amount": "12.50", "currency": "EUR"})
    expected = {"purchase": Decimal("12.50"), "refund": Decimal("-12.50")}.get(event_type, Decimal(0))
    assert (signal.amount, signal.currency, signal.revenue) == (Decimal("12.50"), "EUR", expected)


@pytest.mark.parametrize(
    "event_type", ["page_viewed", "email_sent", "email_opened", "email_clicked", "call_made"]
)
def test_a_currency_without_an_amount_is_no_money(event_type: str) -> None:
    signal = signal_of(event_type, {"currency": "EUR"})
    assert (signal.amount, signal.currency) == (None, None)


def test_a_profile_change_holds_what_was_sent_and_nothing_else() -> None:
    data: dict[str, Any] = {
        "name": None,
        "custom_fields": {"tier": 1, "old": None},
        "tags": [],
        "favourite_colour": "blue",
    }
    projection = project_data("customer_updated", data)
    assert projection == Projection(
        profile={"name": None, "custom_fields": {"tier": 1, "old": None}, "tags": []}
    )


@pytest.mark.parametrize("amount", [Decimal("-0"), Decimal("-0.0"), 0, "0", "0.00"])
@pytest.mark.parametrize("event_type", ["purchase", "refund"])
def test_no_zero_is_negative(event_type: str, amount: object) -> None:
    signal = signal_of(event_type, {"amount": amount, "currency": "USD"})
    assert signal.amount == 0
    assert not signal.amount.is_signed()
    assert not signal.revenue.is_signed()


@pytest.mark.parametrize(
    "amount",
    [
        10**15,
        10**400,
        -1,
        -(10**400),
        Decimal("1E+400"),
        Decimal("-1E-400"),
        Decimal("NaN"),
        True,
        "1\n",
        "٣",
        " 1",
    ],
    ids=lambda amount: repr(amount)[:12],
)
def test_what_is_no_money_is_refused(amount: object) -> None:
    assert not VALIDATORS["purchase"].is_valid({"amount": amount, "currency": "USD"})


@pytest.mark.parametrize(
    "quantity", [10**400, Decimal("1E+400"), Decimal("1.5"), -1, "1"], ids=lambda q: repr(q)[:9]
)
def test_an_impossible_quantity_is_refused(quantity: object) -> None:
    assert not VALIDATORS["purchase"].is_valid({"amount": 1, "currency": "USD", "quantity": quantity})


def test_a_whole_quantity_may_be_written_with_a_fraction_of_zero() -> None:
    assert VALIDATORS["purchase"].is_valid({"amount": 1, "currency": "USD", "quantity": Decimal("2.0")})


@unhurried
@given(event_type=st.sampled_from(PRICED), amount=amounts, currency=currencies)
def test_scores_are_bounded_and_do_not_depend_on_the_amount(
    event_type: str, amount: Decimal | int, currency: str
) -> None:
    signal = signal_of(event_type, {"amount": amount, "currency": currency})
    assert 0 <= signal.score <= 1
    assert signal.score == signal_of(event_type, {"amount": 1, "currency": currency}).score
    assert signal.amount == amount


@unhurried
@given(amount=amounts, currency=currencies)
def test_a_refund_cancels_its_purchase_exactly(amount: Decimal | int, currency: str) -> None:
    money = {"amount": amount, "currency": currency}
    revenue = signal_of("purchase", money).revenue
    # Compared digit by digit: an addition would round to the decimal context and could hide a lost digit.
    assert signal_of("refund", money).revenue.copy_negate() == revenue == Decimal(amount)


@unhurried
@given(amount=amounts, currency=currencies)
def test_a_decimal_string_and_a_number_are_the_same_amount(amount: Decimal | int, currency: str) -> None:
    text = format(Decimal(amount).copy_abs(), "f")
    from_text = signal_of("purchase", {"amount": text, "currency": currency})
    assert from_text == signal_of("purchase", {"amount": amount, "currency": currency})


@unhurried
@given(data=st.data(), event_type=st.sampled_from(PRICED))
def test_whatever_a_schema_accepts_can_be_projected(data: st.DataObject, event_type: str) -> None:
    (schema,) = (each.schema for each in DOMAIN.event_types if each.name == event_type)
    values = texts | numbers | st.booleans() | st.none() | st.lists(texts, max_size=2)
    drawn = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(schema["properties"], values)))
    accepted = {
        name: value
        for name, value in drawn.items()
        if VALIDATORS[event_type].is_valid({"amount": 1, "currency": "USD"} | {name: value})
    }
    signal = signal_of(event_type, {"amount": 1, "currency": "USD"} | accepted)
    assert 0 <= signal.score <= 1
