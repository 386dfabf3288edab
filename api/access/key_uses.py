"""When each API key was last used: noted in memory, written down once a minute."""

from datetime import datetime

import structlog
from psycopg_pool import AsyncConnectionPool

from api.database.fetching import run_for_platform
from api.periodic import Periodic
from common.database.queries import Queries
from common.errors import DatabaseUnavailableError

_WRITE_SECONDS = 60.0

_sql = Queries("api.access", "auth.sql")
log = structlog.get_logger(__name__)


class KeyUses:
    """Collects the uses of keys and writes them by a task of its own; no request waits for it.

    What a killed process had noted, a minute at most, is lost: `last_used_at` is for people who look for idle keys.
    """

    def __init__(self, database: AsyncConnectionPool) -> None:
        self._database = database
        self._noted: dict[tuple[int, int], datetime] = {}
        self._writer = Periodic(self._write, seconds=_WRITE_SECONDS, name="key uses")

    def note(self, tenant_id: int, key_id: int, now: datetime) -> None:
        """The tenant's key was used."""
        self._noted[tenant_id, key_id] = now

    def start(self) -> None:
        """Write what is noted from time to time."""
        self._writer.start()

    async def stop(self) -> None:
        """Write what is noted, and end the task."""
        await self._writer.stop()
        await self._write()

    async def _write(self) -> None:
        noted, self._noted = self._noted, {}
        if not noted:
            return
        try:
            await run_for_platform(
                self._database,
                _sql.note_key_uses,
                {
                    "tenant_ids": [tenant_id for tenant_id, _ in noted],
                    "key_ids": [key_id for _, key_id in noted],
                    "used_at": list(noted.values()),
                },
            )
        except DatabaseUnavailableError:
            self._noted = noted | self._noted
        except Exception:  # it must not end the task
            log.exception("key_uses_not_written")
