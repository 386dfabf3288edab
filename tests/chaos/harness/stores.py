"""The stores of the stack, seen directly, and what is in work in them."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, LiteralString, TypeVar

import psycopg
import redis

from common.queue.streams import STREAMS
from common.redis import open_redis
from harness.waiting import wait_for

_T = TypeVar("_T")

Batches = frozenset[tuple[int, int]]
"""Outbox rows: batch and tenant."""
Entries = frozenset[tuple[str, bytes]]
"""Stream entries: lane and id."""

_PATIENCE_SECONDS = 60.0
_ERASING: LiteralString = "SELECT count(*) FROM erasures WHERE state <> 'done'"
_PENDING: LiteralString = "SELECT batch_id, tenant_id FROM outbox WHERE indexed_at IS NULL"


class Stores:
    """PostgreSQL and Valkey, past all proxies. Every method waits for a server that is on its way back.

    Raises `harness.waiting.StuckError` if it does not come.
    """

    def __init__(self, database_url: str, redis_url: str) -> None:
        self._database_url = database_url
        self._redis_url = redis_url

    @contextmanager
    def database(self) -> Iterator[psycopg.Connection[Any]]:
        """A session in autocommit mode."""

        def opened() -> psycopg.Connection[Any] | None:
            with contextlib.suppress(psycopg.OperationalError):
                return psycopg.connect(
                    self._database_url, autocommit=True, connect_timeout=2, application_name="chaos"
                )
            return None

        connection = wait_for(opened, _PATIENCE_SECONDS, "PostgreSQL to accept a connection")
        try:
            yield connection
        finally:
            connection.close()

    @contextmanager
    def redis(self) -> Iterator[redis.Redis]:
        """A client of Valkey, which answers."""
        with open_redis(self._redis_url, timeout_seconds=5) as client:

            def answers() -> bool:
                with contextlib.suppress(redis.RedisError):
                    return bool(client.ping())
                return False

            wait_for(answers, _PATIENCE_SECONDS, "Valkey to answer")
            yield client

    def taken_entries(self) -> Entries:
        """The stream entries that workers, dead ones included, have taken and not finished."""

        def look() -> Entries:
            with self.redis() as client:
                return frozenset(
                    (lane, item["message_id"])
                    for lane in STREAMS
                    if client.exists(lane)
                    for item in client.xpending_range(lane, "workers", "-", "+", 10_000)
                )

        return _answer(look)

    def unfinished(self, entries: Entries) -> int:
        """How many of these entries are still in their lanes."""

        def look() -> int:
            with self.redis() as client:
                return sum(1 for lane, entry_id in entries if client.xrange(lane, entry_id, entry_id))

        return _answer(look)

    def queued_entries(self) -> int:
        """How many entries are in the lanes, taken ones included."""

        def look() -> int:
            with self.redis() as client:
                return sum(client.xlen(lane) for lane in STREAMS)

        return _answer(look)

    def pending_batches(self) -> Batches:
        """The outbox rows that are not indexed yet."""

        def look() -> Batches:
            with self.database() as connection:
                return frozenset(connection.execute(_PENDING).fetchall())

        return _answer(look)

    def erasures_in_work(self) -> int:
        """How many customers are still to be erased."""

        def look() -> int:
            with self.database() as connection:
                (found,) = connection.execute(_ERASING).fetchall()
                return int(found[0])

        return _answer(look)

    def batches_in_work(self) -> Batches:
        """The outbox rows that index workers have locked."""

        def look() -> Batches:
            with self.database() as connection:
                pending = connection.execute(_PENDING).fetchall()
                free = connection.execute(f"{_PENDING} FOR UPDATE SKIP LOCKED").fetchall()
                return frozenset(pending) - frozenset(free)

        return _answer(look)


def _answer(look: Callable[[], _T]) -> _T:
    """What `look` says, asked again if the server dies meanwhile."""

    def asked() -> list[_T]:
        with contextlib.suppress(psycopg.OperationalError, redis.RedisError):
            return [look()]
        return []

    return wait_for(asked, _PATIENCE_SECONDS, "an answer of the stores")[0]
