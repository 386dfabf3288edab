"""Which signal a sales event gives, and how strong: one table, read from top to bottom, first match wins.

The score says how strong a signal is of its kind, from 0 to 1. It follows from what happened, never from how
much money is named: amounts of different currencies do not compare, and the money itself is kept exactly
beside the score.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from common.event_types.signal_type import SignalType
from worker.domains.sales.conditions import AtLeast, Condition, IsTrue, LeadsTo, Mentions, Says


@dataclass(frozen=True, slots=True)
class Rule:
    """The signal of an event whose data meets `when`; None is the last rule of its type and always holds."""

    signal_type: SignalType
    score: float
    when: Condition | None = None


def matching_rule(rules: Sequence[Rule], data: Mapping[str, Any]) -> Rule:
    """The first of `rules` whose condition `data` meets; the last rule of each type has none."""
    for rule in rules:
        if rule.when is None or rule.when.holds(data):
            return rule
    raise LookupError("the last rule of each type has no condition")


_OUTREACH: Final = SignalType.OUTREACH
_ENGAGEMENT: Final = SignalType.ENGAGEMENT
_HIGH_ENGAGEMENT: Final = SignalType.HIGH_ENGAGEMENT
_INTENT: Final = SignalType.INTENT
_HIGH_INTENT: Final = SignalType.HIGH_INTENT
_REVENUE: Final = SignalType.REVENUE
_CHURN_RISK: Final = SignalType.CHURN_RISK

_PRICES: Final = frozenset({"plans", "price", "prices", "pricing", "quote"})
_TILL: Final = frozenset({"basket", "cart", "checkout", "order", "payment"})
_BUYING: Final = frozenset(
    {
        "budget",
        "buy",
        "contract",
        "cost",
        "costs",
        "demo",
        "price",
        "prices",
        "pricing",
        "proposal",
        "purchase",
    }
    | {"quotation", "quote", "quotes", "trial", "urgent"}
)
_PRESSING: Final = frozenset({"critical", "high", "highest", "urgent"})
_KEEN: Final = frozenset({"callback", "interested", "meeting_booked", "positive", "qualified", "won"})
_SPOKEN: Final = frozenset({"answered", "completed", "connected", "not_interested", "reached"})
_COLD: Final = frozenset({"cancelled", "lost", "negative", "no_show", "not_interested"})
_LATE: Final = frozenset({"billing", "checkout", "payment", "shipping"})
_UNWILLING: Final = frozenset({"card_declined", "card_expired", "payment_failed", "payment_failure"})

RULES: Final[Mapping[str, tuple[Rule, ...]]] = {
    "email_sent": (Rule(_OUTREACH, 0.05),),
    "email_opened": (Rule(_ENGAGEMENT, 0.2),),
    "email_clicked": (
        Rule(_HIGH_ENGAGEMENT, 0.6, LeadsTo(("url",), _PRICES | _TILL)),
        Rule(_HIGH_ENGAGEMENT, 0.4),
    ),
    "call_made": (
        Rule(_HIGH_ENGAGEMENT, 0.6, Says("outcome", _KEEN)),
        Rule(_ENGAGEMENT, 0.3, Says("outcome", _SPOKEN)),
        Rule(_ENGAGEMENT, 0.3, Says("direction", frozenset({"inbound"}))),
        Rule(_ENGAGEMENT, 0.3, AtLeast("duration_seconds", 120)),
        Rule(_OUTREACH, 0.1),
    ),
    "page_viewed": (
        Rule(_INTENT, 0.6, LeadsTo(("url", "path"), _TILL)),
        Rule(_INTENT, 0.5, LeadsTo(("url", "path"), _PRICES)),
        Rule(_ENGAGEMENT, 0.1),
    ),
    "inquiry": (
        Rule(_HIGH_INTENT, 0.85, Says("priority", _PRESSING)),
        Rule(_HIGH_INTENT, 0.8, Mentions(("subject", "message"), _BUYING)),
        Rule(_INTENT, 0.6),
    ),
    "cart_abandoned": (
        Rule(_INTENT, 0.7, Says("stage", _LATE)),
        Rule(_INTENT, 0.5),
    ),
    "meeting_booked": (Rule(_HIGH_INTENT, 0.8),),
    "demo_requested": (Rule(_HIGH_INTENT, 0.85),),
    "demo_completed": (
        Rule(_HIGH_INTENT, 0.9, Says("outcome", _KEEN)),
        Rule(_ENGAGEMENT, 0.2, Says("outcome", _COLD)),
        Rule(_HIGH_INTENT, 0.7),
    ),
    # Our own step: what the customer wanted was already counted when they asked for the quote.
    "quote_sent": (Rule(_OUTREACH, 0.3),),
    # Not revenue yet: the purchase that follows brings the money, once.
    "quote_accepted": (Rule(_HIGH_INTENT, 0.95),),
    "purchase": (Rule(_REVENUE, 1.0),),
    "refund": (
        Rule(_CHURN_RISK, 0.8, IsTrue("full")),
        Rule(_CHURN_RISK, 0.6),
    ),
    "subscription_cancelled": (
        Rule(_CHURN_RISK, 0.6, Says("reason", _UNWILLING)),
        Rule(_CHURN_RISK, 0.9),
    ),
    # Says who the customer is, nothing about what they are up to.
    "customer_updated": (),
}
