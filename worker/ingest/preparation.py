"""From queue entries to a batch that is ready to be stored; done without the database, while that is busy."""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from common.errors import InvalidEventError
from common.queue.streams import Entry
from worker.store.candidates import Candidates
from worker.validation.events import EventTypes, ValidEvent, validate
from worker.validation.refusals import RefusedEvent, broke_the_code

_LOGGED_FAULTS = 10

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PreparedBatch:
    """What `entries` brought: events to be stored, and what cannot be."""

    entries: Sequence[Entry]
    candidates: Candidates
    refused: Sequence[RefusedEvent]

    @property
    def size(self) -> int:
        """How many events it has, refused ones included."""
        return sum(len(entry.records) for entry in self.entries)


def prepare(entries: Sequence[Entry], types: EventTypes, *, max_nesting: int) -> PreparedBatch:
    """Validate all events of `entries`; one that cannot be, whatever the reason, is refused and holds up no other."""
    valid: list[ValidEvent] = []
    refused: list[RefusedEvent] = []
    faults = 0
    for entry in entries:
        for record in entry.records:
            try:
                valid.append(validate(entry.tenant_id, record, types, max_nesting=max_nesting))
            except InvalidEventError as error:
                # The frames that it went through hold the whole batch: it would stay until the garbage collector comes.
                error.__traceback__ = error.__context__ = None
                refused.append(RefusedEvent(entry.tenant_id, record, error))
            except Exception:
                # A bug of ours, met by this event: it must not take its neighbours along.
                faults += 1
                if faults <= _LOGGED_FAULTS:  # they may be thousands, all of one kind
                    log.exception("event_broke_the_code", event_id=record.event_id, tenant_id=entry.tenant_id)
                refused.append(broke_the_code(entry.tenant_id, record))
    candidates = Candidates(valid)
    candidates.work_ahead()
    return PreparedBatch(entries, candidates, refused)
