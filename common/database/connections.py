"""Connection pools for PostgreSQL, and the translation of its errors at the edge."""

import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import Connection
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolTimeout

from common.errors import DatabaseUnavailableError

# Each statement sees what is committed by then, whatever the role or the database has for a default: erasures rely on
# it (docs/adr/0011-erasure.md).
READ_COMMITTED = r"-c default_transaction_isolation=read\ committed"

# Every session: UTC, so that timestamps read and print alike everywhere; JIT off, as it only costs on statements
# this short; bounds on waiting, so that a stuck session is an error that is retried and not a hang, and a worker
# that was told to stop can do so; and a server that soon notices when a client is gone, so that what a dead
# worker had locked is free before another has taken over its work.
_OPTIONS = f"{READ_COMMITTED} " + " ".join(
    f"-c {setting}"
    for setting in (
        "timezone=UTC",
        "jit=off",
        "lock_timeout=10s",
        "idle_in_transaction_session_timeout=120s",
        "client_connection_check_interval=2s",
        "tcp_keepalives_idle=5",
        "tcp_keepalives_interval=2",
        "tcp_keepalives_count=3",
    )
)

# No connection stays open for longer than this, idle or not: a server that was told to stop once its sessions have
# ended (the "smart" way) stops, and a failover that changed only a name in the DNS reaches us, within a minute or two.
_LIFETIME_SECONDS = 60.0

# A pool's pauses between attempts to connect double for as long as these go on: after an outage of minutes it would
# wait for minutes more. Giving up soon lets the next request try at once.
_RECONNECT_SECONDS = 2.0

_ANSWER_SECONDS = 30

_TRANSIENT = (
    psycopg.OperationalError,  # connection lost, server starting or stopping, deadlock, serialization, timeouts
    psycopg.InterfaceError,  # the connection object died under us
    psycopg.errors.ReadOnlySqlTransaction,  # a failover is under way
    psycopg.errors.IdleInTransactionSessionTimeout,  # this process was suspended in the middle of a transaction
    psycopg.errors.TransactionTimeout,
    PoolTimeout,
)

# Operational errors by their class, but such that no repetition cures: an event is larger than an index can hold.
_FOR_GOOD = (psycopg.errors.ProgramLimitExceeded, psycopg.errors.StatementTooComplex)


# For whoever must see the rows of all tenants: a role that may not gets an error, where it would silently find none.
SEE_ALL_ROWS = "-c row_security=off"


def open_pool(
    url: str,
    *,
    application: str,
    max_size: int = 4,
    sees_all_rows: bool = True,
    connection_class: type[Connection] = Connection,
) -> ConnectionPool:
    """A synchronous pool for workers; connections open in the background.

    Checking a connection out waits at most 5 seconds, then raises psycopg_pool.PoolTimeout.

    Args:
        url: PostgreSQL.
        application: what the server's list of connections calls it.
        max_size: most connections.
        sees_all_rows: whether it is about all tenants, and its role must be one that may see them.
        connection_class: what its connections are.
    """
    options = _pool_options(application, max_size)
    if sees_all_rows:
        options["kwargs"]["options"] += f" {SEE_ALL_ROWS}"
    return ConnectionPool(
        url, connection_class=connection_class, check=_check_unless_quiet, open=True, **options
    )


def build_async_pool(
    url: str,
    *,
    application: str,
    max_size: int = 8,
    make: Callable[..., AsyncConnectionPool] = AsyncConnectionPool,
) -> AsyncConnectionPool:
    """An asynchronous pool for the API, which `make` makes; the caller opens and closes it within its event loop.

    A statement takes at most 30 seconds: somebody waits for the answer, and others for the connection.
    """
    check = AsyncConnectionPool.check_connection
    options = _pool_options(application, max_size)
    options["kwargs"]["options"] += f" -c statement_timeout={_ANSWER_SECONDS}s"
    return make(url, check=check, open=False, **options)


def _check_unless_quiet(connection: Connection) -> None:
    """Ask the server for a sign of life, unless nothing came from it: that it is gone is something that comes.

    It spares a round trip. What a cut cable hides shows in the first statement, and whoever works on batches tries
    again then.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        ConnectionPool.check_connection(connection)


def _pool_options(application: str, max_size: int) -> dict[str, Any]:
    return {
        "kwargs": {
            "options": _OPTIONS,
            "application_name": application,
            "connect_timeout": 5,
            # A peer that vanished without a FIN is noticed within half a minute.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
        },
        "min_size": 0,
        "max_size": max_size,
        "timeout": 5.0,
        "max_lifetime": _LIFETIME_SECONDS,
        "max_idle": _LIFETIME_SECONDS,
        "reconnect_timeout": _RECONNECT_SECONDS,
        "name": application,
    }


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise the driver's passing failures as `DatabaseUnavailableError`; let all others through."""
    try:
        yield
    except _FOR_GOOD:
        raise
    except _TRANSIENT as error:
        raise DatabaseUnavailableError(
            f"PostgreSQL is not available: {type(error).__name__}; try again shortly"
        ) from error
