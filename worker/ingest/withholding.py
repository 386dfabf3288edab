"""The refusals of one batch: which of them are made, and which are withheld."""

from collections import Counter
from collections.abc import Iterable, Sequence
from uuid import UUID

import structlog

from common.queue.streams import Entry
from common.queue.withheld import Reason, WithheldEvents, WithheldPart
from worker.ingest.guard import FAULT_CODES, RefusalGuard, Tally
from worker.validation.refusals import RefusedEvent, envelope_hints, rejection_id

_NAMED_REASONS = 5

log = structlog.get_logger(__name__)


class BatchRefusals:
    """Decides over the refusals of a batch, as the guard and the operators have it.

    An event that was withheld once is refused only when its tenant's refusals are released. Any other is, unless
    the guard has tripped for its tenant.
    """

    def __init__(self, batch: Sequence[Entry], guard: RefusalGuard, withheld: WithheldEvents) -> None:
        self._batch = batch
        self._guard = guard
        self._store = withheld
        self._tallies: dict[int, Tally] = {}
        for entry in batch:
            self._tally(entry.tenant_id, Tally(events=len(entry.records)))
        self._returned = {
            rejection_id(entry.tenant_id, record)
            for entry in batch
            if entry.withheld
            for record in entry.records
        }
        self._withheld: dict[UUID, RefusedEvent] = {}

    def admit(self, refused: Sequence[RefusedEvent]) -> list[RefusedEvent]:
        """Those of `refused` that may be refused; the others are withheld.

        Raises:
            QueueUnavailableError: Redis, which knows what is released, is away.
        """
        for one in refused:
            self._tally(one.tenant_id, Tally(refused=1, faults=one.reason.code in FAULT_CODES))
        suspects = self._guard.withholds(self._tallies)
        if not suspects and not self._returned:
            return list(refused)
        identified = {rejection_id(one.tenant_id, one.record): one for one in refused}
        held = {
            identity: one
            for identity, one in identified.items()
            if one.tenant_id in suspects or identity in self._returned
        }
        released = self._store.released({one.tenant_id for one in held.values()})
        held = {identity: one for identity, one in held.items() if one.tenant_id not in released}
        self._withheld |= held
        return [one for identity, one in identified.items() if identity not in held]

    def parts(self) -> list[WithheldPart]:
        """What is withheld, by the entry that brought it."""
        found = []
        for entry in self._batch if self._withheld else ():
            records, reasons = [], []
            for record in entry.records:
                if one := self._withheld.get(rejection_id(entry.tenant_id, record)):
                    records.append(record)
                    reasons.append(_reason(one))
            if records:
                found.append(WithheldPart(entry, records, reasons))
        return found

    def settle(self, parts: Iterable[WithheldPart]) -> None:
        """The batch is done, and `parts` are put away: count it, and say what was withheld."""
        self._guard.count(self._tallies)
        by_tenant: dict[int, Counter[Reason]] = {}
        for part in parts:
            by_tenant.setdefault(part.entry.tenant_id, Counter()).update(part.reasons)
        for tenant_id, reasons in by_tenant.items():
            log.error(
                "refusals_withheld",
                tenant_id=tenant_id,
                events=reasons.total(),
                refused_share=round(self._guard.share(tenant_id), 3),
                reasons=[
                    {"code": code, "event_type": event_type, "events": count}
                    for (code, event_type), count in reasons.most_common(_NAMED_REASONS)
                ],
            )

    def _tally(self, tenant_id: int, tally: Tally) -> None:
        self._tallies[tenant_id] = self._tallies.get(tenant_id, Tally()).plus(tally)


def _reason(one: RefusedEvent) -> Reason:
    return Reason(one.reason.code, envelope_hints(one.record.raw)["event_type"] or "")
