"""Storing a batch that PostgreSQL may refuse for the content of some event: the guilty one is found and refused."""

from collections.abc import Iterator, Sequence

import psycopg

from common.errors import InvalidEventError, TransientError
from common.streams import Record
from worker.refusals import RefusedEvent
from worker.store import Store, StoredBatch
from worker.validation import ValidEvent

# What a value can cause. A missing column or a failing server is nobody's content.
_CONTENT_ERRORS = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded)


class RefusalsWithheldError(TransientError):
    """Too many events fail for a reason that may be ours; they stay queued until the code is mended."""

    code = "refusals_withheld"


class FaultLimit:
    """Bounds how much may be refused for faults that may be our own: an event that breaks a projection, say.

    One such event must not stop the others. But when most of what arrives fails that way, the code is the
    suspect, and refusing it all would only bury the work. So beyond a grace of 100, faults may make up half of
    the last thousand events at the most.
    """

    grace, share, window = 100, 0.5, 1000

    def __init__(self) -> None:
        self._events = self._faults = 0.0

    def admit(self, faults: int, events: int) -> None:
        """Count a batch of `events` of which `faults` are to be refused.

        Raises:
            RefusalsWithheldError: that would be too many; the batch is not counted.
        """
        if faults and self._faults + faults > max(self.grace, self.share * (self._events + events)):
            raise RefusalsWithheldError
        self._events += events
        self._faults += faults
        if self._events > self.window:
            fading = self.window / self._events
            self._events, self._faults = self._events * fading, self._faults * fading


def store_isolating(
    store: Store, events: Sequence[ValidEvent], refused: Sequence[RefusedEvent], limit: FaultLimit
) -> Iterator[tuple[StoredBatch, Sequence[RefusedEvent]]]:
    """Store a batch; what PostgreSQL cannot hold is refused with code ``unstorable``, its neighbours are stored.

    A batch that fails for its content is halved until the guilty event stands alone, in as many transactions as
    that takes.

    Yields:
        What each transaction stored and refused.

    Raises:
        TransientError: try the whole again; what was stored already is then known.
        psycopg.Error: not the content is at fault.
    """
    try:
        yield store.write(events, refused), refused
    except _CONTENT_ERRORS as error:
        if not events:
            raise
        if refused:
            yield store.write([], refused), refused
        if len(events) == 1:
            limit.admit(1, 0)  # as an event it was counted when it was validated
            guilty = [_unstorable(events[0], error)]
            yield store.write([], guilty), guilty
        else:
            middle = len(events) // 2
            yield from store_isolating(store, events[:middle], [], limit)
            yield from store_isolating(store, events[middle:], [], limit)


def _unstorable(valid: ValidEvent, error: psycopg.Error) -> RefusedEvent:
    event = valid.event
    reason = InvalidEventError(
        "unstorable",
        f"PostgreSQL cannot hold this event: {error.diag.message_primary or type(error).__name__}",
    )
    return RefusedEvent(
        event.tenant_id, Record(event.event_id, event.received_at, valid.raw.encode()), reason
    )
