"""What Prometheus gets of an API process: its metrics, and what waits in the lanes and the outbox at this moment."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import structlog
from prometheus_client import generate_latest
from psycopg_pool import AsyncConnectionPool

from api.database.fetching import run_for_platform
from common.errors import SsppError
from common.metrics import Metrics
from common.queue.backlog import SELECT_OUTBOX_BACKLOG, set_outbox_gauges

_OUTBOX_SECONDS = 2.0

_log = structlog.get_logger(__name__)


class Scraping:
    """Measures, and writes all of it down in the text format, in a thread of its own: events need those of the loop."""

    def __init__(self, database: AsyncConnectionPool, metrics: Metrics) -> None:
        self._database = database
        self._metrics = metrics
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="scraping")

    def close(self) -> None:
        """Have the thread end, when it has finished what it does; nobody waits for that."""
        self._thread.shutdown(wait=False)

    async def read(self) -> bytes:
        """All metrics; without PostgreSQL or Redis, those of what waits there keep their last values."""
        try:
            async with asyncio.timeout(_OUTBOX_SECONDS):
                [row] = await run_for_platform(self._database, SELECT_OUTBOX_BACKLOG, {})
        except (SsppError, TimeoutError):
            _log.warning("outbox_not_measured")
        else:
            set_outbox_gauges(self._metrics, **row)
        # The lanes are measured as the registry is read, by a client that blocks.
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, generate_latest, self._metrics.registry)
