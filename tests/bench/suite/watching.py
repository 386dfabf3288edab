"""When events arrive in the stores, seen from outside, by asking again and again."""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any
from uuid import UUID

import psycopg
from elasticsearch import Elasticsearch, NotFoundError

from common.search.template import ALIAS

Look = Callable[[Sequence[UUID]], Collection[UUID]]
"""Tells which of some ids a store has."""

_LONGEST_SECONDS = 60


class Watch(threading.Thread):
    """Notes when each of `ids` is first seen, in `seen`, by `time.monotonic`.

    Args:
        ids: in about the order of their coming.
        look: asked for the next ones that are missing.
        pause_seconds: between two looks. An id is seen late by at most this and the time of one look.
        at_once: how many ids to ask for in one look; more than are on their way only cost time.
    """

    def __init__(self, ids: Sequence[UUID], look: Look, pause_seconds: float, *, at_once: int) -> None:
        super().__init__(daemon=True)
        self._missing = dict.fromkeys(ids)
        self._look = look
        self._pause_seconds = pause_seconds
        self._at_once = at_once
        self._given_up = threading.Event()
        self.seen: dict[UUID, float] = {}

    def run(self) -> None:
        """Look until all are seen."""
        while self._missing and not self._given_up.wait(self._pause_seconds):
            next_ones = [found for found, _ in zip(self._missing, range(self._at_once), strict=False)]
            found = self._look(next_ones)
            now = time.monotonic()
            for each in found:
                self.seen[each] = now
                del self._missing[each]

    def finish(self) -> int:
        """Wait, but not for ever, until all are seen; how many are not."""
        self.join(_LONGEST_SECONDS)
        self._given_up.set()
        self.join()
        return len(self._missing)


def stored(connection: psycopg.Connection) -> Look:
    """Looks for event keys in PostgreSQL."""

    def look(keys: Sequence[UUID]) -> Collection[UUID]:
        query = "SELECT event_key FROM event_keys WHERE event_key = ANY(%s)"
        return [row[0] for row in connection.execute(query, [list(keys)])]

    return look


def searchable(client: Elasticsearch) -> Look:
    """Looks for signal ids by searching."""

    def look(ids: Sequence[UUID]) -> Collection[UUID]:
        query: dict[str, Any] = {"ids": {"values": [str(each) for each in ids]}}
        try:
            answer = client.search(index=ALIAS, query=query, size=len(ids), source=False)
        except NotFoundError:  # there is no index before the first document
            return []
        return [UUID(hit["_id"]) for hit in answer["hits"]["hits"]]

    return look
