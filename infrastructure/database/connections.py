"""Connections of the operator's commands: one session, autocommit, failures as plain messages."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from common.database.connections import READ_COMMITTED, SEE_ALL_ROWS
from common.errors import DatabaseUnavailableError
from common.store_urls import postgresql_access

Connection = psycopg.Connection[tuple[Any, ...]]


@contextmanager
def connect(database_url: str, *, read_only: bool = False) -> Iterator[Connection]:
    """One session in autocommit mode, in UTC, about the rows of all tenants; closed at the end.

    It runs with ``row_security=off``: a role that does not see all rows, as a plain owner of the tables does not, gets
    psycopg.errors.InsufficientPrivilege from the first statement about tenants' rows, and never some of them for all
    (docs/howto/give_processes_their_roles.md). With `read_only` the server itself refuses every write.

    Raises:
        SettingsError: `database_url` is not a PostgreSQL URL, or its password breaks it.
        DatabaseUnavailableError: the server cannot be reached or refuses the login.
    """
    options = f"-c timezone=UTC {READ_COMMITTED} {SEE_ALL_ROWS}" + (
        " -c default_transaction_read_only=on" if read_only else ""
    )
    postgresql_access(
        "DATABASE_URL", database_url
    )  # libpq would quote what it stumbles over, be it a password
    try:
        connection = psycopg.connect(
            database_url, autocommit=True, application_name="sspp command", connect_timeout=5, options=options
        )
    except psycopg.OperationalError as error:
        reason = " ".join(str(error).split())
        raise DatabaseUnavailableError(f"PostgreSQL cannot be reached: {reason}") from error
    with connection:
        yield connection
