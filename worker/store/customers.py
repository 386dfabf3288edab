"""What a batch changes about its customers; pure, and independent of the order in which events arrive."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Context, Decimal
from typing import Any
from uuid import UUID

import msgspec

from common.event_types.signal_type import SignalType
from common.scoring import heat, heat_sum
from worker.domains.domain import Event, Projection

# Decimal's default context rounds to 28 digits; validation admits numbers that need some 700 to add up exactly.
_EXACT = Context(prec=1000)


@dataclass(frozen=True, slots=True)
class ProfileChange:
    """Values for some profile fields, and the version that decides whether they are the newest."""

    version: tuple[str, str]
    values: Mapping[str, Any]


class CustomerChange(msgspec.Struct):
    """The sum of what the events of one customer in one batch change."""

    first_seen: datetime
    last_seen: datetime
    signal_count: int = 0
    counts: dict[str, int] = {}
    signal_counts: dict[str, int] = {}
    totals: dict[str, Decimal] = {}
    heat: float | None = None
    profile_changes: list[ProfileChange] = []

    def add(self, event: Event, projection: Projection) -> None:
        """Count one more event in."""
        if event.occurred_at < self.first_seen:
            self.first_seen = event.occurred_at
        elif event.occurred_at > self.last_seen:
            self.last_seen = event.occurred_at
        # A signal dated in the future must not outshine the present until then.
        counts_from = min(event.occurred_at, event.received_at)
        for signal in projection.signals:
            self.signal_count += 1
            self.counts[event.event_type] = self.counts.get(event.event_type, 0) + 1
            self.signal_counts[signal.signal_type] = self.signal_counts.get(signal.signal_type, 0) + 1
            # A warning is no interest: churn risk is counted, but does not make a customer look hot.
            if signal.signal_type is not SignalType.CHURN_RISK:
                self.heat = heat_sum(self.heat, heat(signal.score, counts_from))
            if signal.currency is not None and signal.revenue:
                total = self.totals.get(signal.currency, Decimal(0))
                self.totals[signal.currency] = _EXACT.add(total, signal.revenue)
        if projection.profile:
            self.profile_changes.append(ProfileChange(profile_version(event), projection.profile))


class Profile(msgspec.Struct):
    """A customer's profile as stored; `versions` says which change each field shows."""

    name: str | None = None
    email: str | None = None
    phone: str | None = None
    custom_fields: dict[str, Any] = {}
    tags: list[str] = []
    versions: dict[str, list[str]] = {}

    def apply(self, changes: Iterable[ProfileChange]) -> None:
        """Take over, field by field, what is newer than what is shown; custom fields count one by one.

        None clears a field or removes a custom field, and is remembered as such, so that an older value that
        arrives later does not bring it back.
        """
        for change in changes:
            for name, value in change.values.items():
                if name == "custom_fields":
                    for key, item in value.items():
                        if self._is_newest(f"custom_fields/{key}", change.version):
                            self._set_custom_field(key, item)
                elif self._is_newest(name, change.version):
                    setattr(self, name, list(value or ()) if name == "tags" else value)

    def _set_custom_field(self, key: str, value: Any) -> None:
        if value is None:
            self.custom_fields.pop(key, None)
        else:
            self.custom_fields[key] = value

    def _is_newest(self, name: str, version: tuple[str, str]) -> bool:
        if tuple(self.versions.get(name, ())) >= version:
            return False
        self.versions[name] = list(version)
        return True


def profile_version(event: Event) -> tuple[str, str]:
    """What orders the changes of a profile: `occurred_at` first; the event's key settles a tie for good.

    Both are fixed-width text, so comparing them as text compares instants.
    """
    return (
        event.occurred_at.astimezone(UTC).isoformat(timespec="microseconds"),
        str(UUID(bytes=event.event_key)),
    )


def customer_changes(
    events: Iterable[tuple[Event, Projection]],
) -> dict[tuple[int, str], CustomerChange]:
    """Sum up `events` by (tenant_id, customer_id), sorted by it: all batches lock customers in one order."""
    changes: dict[tuple[int, str], CustomerChange] = {}
    for event, projection in events:
        key = (event.tenant_id, event.customer_id)
        change = changes.get(key)
        if change is None:
            change = changes[key] = CustomerChange(event.occurred_at, event.occurred_at)
        change.add(event, projection)
    return dict(sorted(changes.items()))
