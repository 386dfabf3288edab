"""What signals tell."""

from enum import StrEnum


class SignalType(StrEnum):
    """What a signal tells a sales team, from our own effort to the customer's money."""

    OUTREACH = "outreach"
    ENGAGEMENT = "engagement"
    HIGH_ENGAGEMENT = "high_engagement"
    INTENT = "intent"
    HIGH_INTENT = "high_intent"
    REVENUE = "revenue"
    CHURN_RISK = "churn_risk"
