"""Faults that strike at one point of the work, brought about from outside: the platform knows nothing of them.

A lock on a table holds a worker up in the middle of its transaction; a pause of Redis's writes holds it up right
after. Nothing here waits for luck.
"""

import signal
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Any, LiteralString

import psycopg

from common.wakeup import awake_key
from harness.faults.fault import Fault, Injury
from harness.stack import INDEX_WORKERS, INGEST_WORKERS, Stack
from harness.waiting import wait_for

_WAIT_SECONDS = 60
_PAUSE_MILLISECONDS = 15_000  # longer than it takes; lifted at once afterwards

_LOCK_CUSTOMERS: LiteralString = "LOCK TABLE customers IN EXCLUSIVE MODE"
# Rows can still be locked, as an index worker does first, but not marked.
_LOCK_OUTBOX: LiteralString = "LOCK TABLE outbox IN SHARE MODE"
_BLOCKED: LiteralString = """
SELECT pid, client_port FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND datname = current_database()
"""
_COMMITTED: LiteralString = """
SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'idle' AND query = 'COMMIT'
"""


def kill_in_mid_batch(stack: Stack, _dice: Random) -> Injury:
    """SIGKILL an ingest worker in the middle of its transaction."""
    with stack.stores.database() as watch, _locked(stack, _LOCK_CUSTOMERS):
        worker, _ = _blocked(stack, watch, INGEST_WORKERS)
        stack.send(worker, signal.SIGKILL)
    return Injury()


def kill_after_commit(stack: Stack, _dice: Random) -> Injury:
    """SIGKILL an ingest worker when its batch is committed, but neither acknowledged nor the index woken."""
    with stack.stores.database() as watch, stack.stores.redis() as redis, ExitStack() as at_the_end:
        with _locked(stack, _LOCK_CUSTOMERS):
            worker, backend = _blocked(stack, watch, INGEST_WORKERS)
            redis.client_pause(_PAUSE_MILLISECONDS, all=False)
            at_the_end.callback(redis.client_unpause)
        wait_for(
            lambda: watch.execute(_COMMITTED, (backend,)).fetchone(),
            _WAIT_SECONDS,
            "the batch to be committed",
        )
        stack.send(worker, signal.SIGKILL)
    return Injury()


def kill_before_marking(stack: Stack, _dice: Random) -> Injury:
    """SIGKILL an index worker when its documents are written, but not marked as such."""
    with stack.stores.database() as watch, ExitStack() as held:
        held.enter_context(stack.search_proxy.hanging(bulks_only=True))
        wait_for(lambda: stack.search_proxy.held_bulks, _WAIT_SECONDS, "a bulk request")
        with _locked(stack, _LOCK_OUTBOX):
            held.close()
            worker, _ = _blocked(stack, watch, INDEX_WORKERS)
            batches = stack.stores.batches_in_work()
            stack.send(worker, signal.SIGKILL)
    return Injury(batches=batches)


def lose_wake_ups(stack: Stack, dice: Random) -> Injury:
    """Empty RQ's queues, and say that the drains were woken: nobody hears of what is there."""
    queues = ("ingest", "index")
    keep_marks = dice.random() < 0.5
    with stack.stores.redis() as redis:
        for queue in queues:
            redis.delete(f"rq:queue:{queue}")
            if keep_marks:
                redis.set(awake_key(queue), 1, px=int(stack.liveness_seconds * 1000))
            else:
                redis.delete(awake_key(queue))
    return Injury({"awake_marks": "set" if keep_marks else "deleted"})


@contextmanager
def _locked(stack: Stack, statement: LiteralString) -> Iterator[None]:
    """Hold a lock on a table."""
    with stack.stores.database() as session, session.transaction():
        session.execute(statement)
        yield


def _blocked(stack: Stack, watch: psycopg.Connection[Any], names: Collection[str]) -> tuple[str, int]:
    """Wait until one of the processes `names` waits for a lock; its name, and its backend's number."""

    def found() -> tuple[str, int] | None:
        for backend, port in watch.execute(_BLOCKED):
            owner = stack.database_proxy.owner(port)
            if owner in names:
                return owner, backend
        return None

    return wait_for(found, _WAIT_SECONDS, f"one of {', '.join(names)} to wait for a lock")


FAULTS = (
    Fault("kill-in-mid-batch", "ingest worker", kill_in_mid_batch, weight=2),
    Fault("kill-after-commit", "ingest worker", kill_after_commit, weight=2),
    Fault("kill-before-marking", "index worker", kill_before_marking, weight=2),
    Fault("lose-wake-ups", "queue", lose_wake_ups),
)
