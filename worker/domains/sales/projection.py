"""From a sales event to its signal, its money and its change of the customer's profile: pure, exact."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from worker.domains.domain import Event, Projection, Signal
from worker.domains.sales.rules import RULES, matching_rule

PROFILE_FIELDS: Final = ("name", "email", "phone", "custom_fields", "tags")
"""What `customer_updated` may change."""

_ZERO: Final = Decimal(0)


def project(event: Event) -> Projection:
    """What a sales event means: one signal, or for ``customer_updated`` a profile change and no signal.

    `event` must be of one of this domain's types and accepted by that type's schema; then this cannot fail.
    Equal events yield equal projections. Money is exact at any number of digits.
    """
    if event.event_type == "customer_updated":
        return Projection(
            profile={field: event.data[field] for field in PROFILE_FIELDS if field in event.data}
        )
    rule = matching_rule(RULES[event.event_type], event.data)
    amount = _amount(event.data)
    return Projection(
        signals=(
            Signal(
                signal_type=rule.signal_type,
                score=rule.score,
                amount=amount,
                currency=None if amount is None else event.data["currency"],
                revenue=revenue(event.event_type, amount),
            ),
        )
    )


def revenue(event_type: str, amount: Decimal | None) -> Decimal:
    """What an event of that type and amount adds to its customer's total: see `Signal`."""
    if not amount:
        return _ZERO
    if event_type == "purchase":
        return amount
    return amount.copy_negate() if event_type == "refund" else _ZERO


def _amount(data: Mapping[str, Any]) -> Decimal | None:
    # copy_abs turns -0 into 0. Unlike abs() and unary minus, the copy_ methods never round to the context.
    return Decimal(data["amount"]).copy_abs() if "amount" in data else None
