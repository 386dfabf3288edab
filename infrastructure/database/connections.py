"""Connections of the operator's commands: one session, autocommit, failures as plain messages."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from common.errors import DatabaseUnavailableError, SettingsError

Connection = psycopg.Connection[tuple[Any, ...]]


@contextmanager
def connect(database_url: str, *, read_only: bool = False) -> Iterator[Connection]:
    """One session in autocommit mode, in UTC; closed at the end.

    With `read_only` the server itself refuses every write.

    Raises:
        SettingsError: `database_url` is not a PostgreSQL URL.
        DatabaseUnavailableError: the server cannot be reached or refuses the login.
    """
    options = "-c timezone=UTC" + (" -c default_transaction_read_only=on" if read_only else "")
    try:
        connection = psycopg.connect(
            database_url, autocommit=True, application_name="sspp command", connect_timeout=5, options=options
        )
    except psycopg.ProgrammingError:
        # libpq quotes the whole string in this message, and it may hold a password.
        raise SettingsError("the database URL is not valid; expected postgresql://user@host/name") from None
    except psycopg.OperationalError as error:
        reason = " ".join(str(error).split())
        raise DatabaseUnavailableError(f"PostgreSQL cannot be reached: {reason}") from error
    with connection:
        yield connection
