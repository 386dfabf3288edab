"""What the event types mean that tenants register for themselves: one signal, as the registration says."""

from decimal import Decimal, InvalidOperation

from common.event_types.signal_type import SignalType
from worker.domains.domain import Event, Projection, Signal

_MOST_DIGITS = 38


def project_custom(event: Event, signal_type: SignalType, score: float) -> Projection:
    """One signal of `signal_type` and `score`, with the data's ``amount`` and ``currency`` if both are usable.

    A tenant's schema may give these names to anything, so what is no amount of money is left in the data alone.
    The customer's totals never change: they are purchases less refunds.
    """
    amount, currency = event.data.get("amount"), event.data.get("currency")
    if isinstance(currency, str) and len(currency) == 3 and currency.isascii() and currency.isupper():
        money = _amount(amount)
        if money is not None:
            return Projection((Signal(signal_type, score, money, currency),))
    return Projection((Signal(signal_type, score),))


def _amount(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        return None
    try:
        amount = Decimal(value)
    except InvalidOperation:
        return None
    if not amount.is_finite() or amount < 0 or len(amount.as_tuple().digits) > _MOST_DIGITS:
        return None
    return amount if abs(amount.adjusted()) <= _MOST_DIGITS else None
