"""Storing a batch that may fail for the content of some event: the guilty one is found, its neighbours are stored."""

from collections.abc import Iterator, Sequence

import psycopg
import structlog

from common.errors import InvalidEventError, TransientError
from common.queue.streams import Record
from worker.store.batch import Store, StoredBatch
from worker.store.candidates import Candidates
from worker.validation.events import ValidEvent
from worker.validation.refusals import RefusedEvent, broke_the_code

# What a value can cause. A missing column or a failing server is nobody's content.
_CONTENT_ERRORS = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.StatementTooComplex,
)

log = structlog.get_logger(__name__)


class BatchFailedError(TransientError):
    """The batch fails for a reason that no event can cause; it stays queued until that is mended."""

    code = "batch_failed"


def store_isolating(
    store: Store, candidates: Candidates, refused: Sequence[RefusedEvent], guilty: list[RefusedEvent]
) -> Iterator[tuple[StoredBatch, Sequence[RefusedEvent]]]:
    """Store a batch; an event that cannot be stored is told from its neighbours, which are.

    A batch that fails for its content is halved until the guilty event stands alone, in as many transactions as
    that takes. It is then added to `guilty` as a refusal to be made: with code ``unstorable`` if PostgreSQL cannot
    hold it, and ``processing_failed`` if it breaks our own code.

    Yields:
        What each transaction stored and refused.

    Raises:
        TransientError: try the whole again; what was stored already is then known. If it is a BatchFailedError,
            something of ours has to be mended first, the database's schema for instance.
    """
    try:
        yield store.write(candidates, refused), refused
    except TransientError:
        raise
    except Exception as error:
        if not candidates or (isinstance(error, psycopg.Error) and not isinstance(error, _CONTENT_ERRORS)):
            log.exception("batch_failed", events=len(candidates), refused=len(refused))
            raise BatchFailedError(
                f"storing fails for a reason that no event can cause: {type(error).__name__}"
            ) from error
        if refused:
            yield from store_isolating(store, Candidates([]), refused, guilty)
        if len(candidates) == 1:
            (event,) = candidates
            guilty.append(_guilty(event, error))
        else:
            for half in candidates.halves():
                yield from store_isolating(store, half, [], guilty)


def _guilty(valid: ValidEvent, error: Exception) -> RefusedEvent:
    event = valid.event
    record = Record(event.event_id, event.received_at, valid.raw)
    if not isinstance(error, psycopg.Error):
        log.error("event_broke_the_code", event_id=event.event_id, tenant_id=event.tenant_id, exc_info=error)
        return broke_the_code(event.tenant_id, record)
    why = error.diag.message_primary or type(error).__name__
    reason = InvalidEventError("unstorable", f"PostgreSQL cannot hold this event: {why}")
    return RefusedEvent(event.tenant_id, record, reason)
