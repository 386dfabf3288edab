"""What PostgreSQL says of API keys, asked in one statement for all who want to know at the same time."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial

from psycopg_pool import AsyncConnectionPool

from api.database.fetching import Row, fetch_all
from common.clock import Clock
from common.database.queries import Queries
from common.errors import DatabaseUnavailableError

_PAUSE = timedelta(seconds=5)  # between two attempts to reach a PostgreSQL that is away
_SECONDS = 2.0
# A statement that is given up takes the driver another ten seconds to take back: nobody waits for that.
_PATIENCE_SECONDS = 2 * _SECONDS
_SHORT_PATIENCE_SECONDS = 0.5

_sql = Queries("api.access", "auth.sql")

_Rows = Mapping[str, Row]


class KeyLookUp:
    """Finds keys by their prefixes, with one statement at a time; those who come meanwhile share the next one.

    So nobody waits for more than two statements, however many keys somebody makes up, and those cost little. While
    PostgreSQL is away, or does not answer, one request in 5 seconds finds out whether it is back.
    """

    def __init__(self, database: AsyncConnectionPool, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._turn = asyncio.Lock()
        self._wanted: set[str] = set()
        self._next: asyncio.Task[_Rows | None] | None = None
        self._away_until: datetime | None = None

    async def find(
        self, prefix: str, now: datetime, *, late: Callable[[Row | None], object] | None = None
    ) -> Row | None:
        """The row of the key with this prefix, which may be another key than the one that is asked with; or None.

        Args:
            prefix: the key's.
            now: what time it is.
            late: for whoever can do without the answer. They wait for half a second at most, and while PostgreSQL is
                away not at all; `late` is called with the answer if it comes after that.

        Raises:
            DatabaseUnavailableError: PostgreSQL is away, or took too long.
        """
        patience = _PATIENCE_SECONDS if late is None else _SHORT_PATIENCE_SECONDS
        if self._away_until is not None:
            if now < self._away_until:
                raise DatabaseUnavailableError
            self._away_until = now + _PAUSE
            patience = patience if late is None else 0.0
        self._wanted.add(prefix)
        if self._next is None:
            self._next = asyncio.create_task(self._look_up())
        asked = self._next
        # Not cancelled with its first asker: a client that goes away takes nothing along that others wait for.
        await asyncio.wait({asked}, timeout=patience)
        if not asked.done():
            self._away_until = self._clock() + _PAUSE
            if late is not None:
                asked.add_done_callback(partial(_tell, late, prefix))
            raise DatabaseUnavailableError
        rows = asked.result()
        if rows is None:
            raise DatabaseUnavailableError
        return rows.get(prefix)

    async def _look_up(self) -> _Rows | None:
        """Rows by prefix; None if PostgreSQL is away: an error would be shared by requests, and keep them."""
        waits = self._turn.locked()
        async with self._turn:
            prefixes, self._wanted, self._next = self._wanted, set(), None
            if waits and self._away_until is not None:
                return None  # as those before have found out
            try:
                async with asyncio.timeout(_SECONDS):
                    rows = await fetch_all(self._database, _sql.find_keys, {"prefixes": list(prefixes)})
            except (DatabaseUnavailableError, TimeoutError):
                self._away_until = self._clock() + _PAUSE
                return None
            self._away_until = None
            return {row["prefix"]: row for row in rows}


def _tell(late: Callable[[Row | None], object], prefix: str, answered: asyncio.Task[_Rows | None]) -> None:
    rows = None if answered.cancelled() else answered.result()
    if rows is not None:
        late(rows.get(prefix))
