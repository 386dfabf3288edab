"""What a worker makes sure of before it works: a wrong setup is told at once, an outage is waited out."""

from collections.abc import Callable

import psycopg
import structlog

from common.database.connections import translated_errors as database_errors
from common.database.queries import Queries
from common.errors import SettingsError, TransientError
from common.queue.durability import check_durability
from common.search.client import translated_errors as search_errors
from common.services import Services

# Search may be slow or stuck; nothing else is to wait for it.
_SEARCH_PATIENCE_SECONDS = 2.0

_sql = Queries("worker", "startup.sql")

log = structlog.get_logger(__name__)


def verify(services: Services) -> None:
    """Ask every dependency once, and log how it is.

    One that is away is no reason to end: drains wait for it, and it may well be on its way back.

    Raises:
        SettingsError: a dependency is there, but cannot be used as it is set up.
    """
    checks: dict[str, Callable[[], None]] = {
        "postgresql": lambda: _check_database(services),
        "redis": lambda: _check_redis(services),
        "elasticsearch": lambda: _check_search(services),
    }
    for name, check in checks.items():
        try:
            check()
        except TransientError as error:
            log.warning("dependency_away", dependency=name, detail=error.detail)
        else:
            log.info("dependency_ready", dependency=name)


def _check_database(services: Services) -> None:
    try:
        with database_errors(), services.pool.connection() as connection:
            connection.execute(_sql.select_nothing)
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
        raise SettingsError(
            "the database of DATABASE_URL lacks tables of the platform; run sspp migrate"
        ) from None
    except psycopg.errors.InsufficientPrivilege as error:
        raise SettingsError(f"the role of DATABASE_URL lacks a right: {error.diag.message_primary}") from None


def _check_redis(services: Services) -> None:
    check_durability(services.redis, services.settings.environment)


def _check_search(services: Services) -> None:
    with search_errors():
        services.search.options(request_timeout=_SEARCH_PATIENCE_SECONDS).info()
