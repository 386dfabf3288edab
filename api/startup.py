"""What the API makes sure of before it serves: a wrong setup is told at once, an outage is waited out."""

import contextlib

import psycopg
import structlog
from psycopg.rows import dict_row

from api.database.rights import SELECT_RIGHTS, excess_rights
from common.errors import QueueUnavailableError, SettingsError
from common.production import check_production, is_strict
from common.queue.durability import check_durability
from common.redis import open_redis
from common.settings import Settings
from common.tracing.opening import check_tracing

_PATIENCE_SECONDS = 2

log = structlog.get_logger(__name__)


def verify(settings: Settings) -> None:
    """Look at the settings, and ask Redis and PostgreSQL how they are set up.

    One that is away is looked at again when it is back, by ``/readyz``.

    Raises:
        SettingsError: a setting must not be so, Redis is no place for events, or the database's role has rights that
            the API must not have in production.
    """
    check_production(settings)
    check_tracing(settings)
    with (
        open_redis(settings.redis_url.get_secret_value(), timeout_seconds=_PATIENCE_SECONDS) as client,
        contextlib.suppress(QueueUnavailableError),
    ):
        check_durability(client, settings.environment)
    _check_role(settings)


def _check_role(settings: Settings) -> None:
    try:
        with psycopg.connect(
            settings.database_url.get_secret_value(),
            connect_timeout=_PATIENCE_SECONDS,
            row_factory=dict_row,
        ) as connection:
            excess = excess_rights(connection.execute(SELECT_RIGHTS).fetchone())
    except psycopg.OperationalError as error:
        log.warning("dependency_away", dependency="postgresql", detail=" ".join(str(error).split()))
        return
    if excess and is_strict(settings):
        raise SettingsError(excess)
    if excess:
        log.warning("database_role_too_mighty", detail=excess)
