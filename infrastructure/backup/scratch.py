"""A database beside the live one: made like it, filled and looked at in peace, then put in its place at once."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import psycopg
from psycopg import sql

from common.clock import system_clock
from common.database.ddl import format_ddl
from common.database.queries import Queries
from infrastructure.backup.programs import at_database, database_name
from infrastructure.database.connections import Connection, connect
from infrastructure.database.roles import ROLES, SEE_ALL_ROWS
from infrastructure.safekeeping.errors import BackupError
from infrastructure.safekeeping.fingerprint import list_tables

_MAINTENANCE = "postgres"
_NAME_BYTES = 40  # of 63: the rest is for what is added
_STAMP = "%Y%m%d%H%M%S"
_ABANDONED_AFTER = timedelta(days=1)
_ATTEMPTS = 20
_PAUSE_SECONDS = 0.2

_sql = Queries(__package__, "scratch.sql")


class DatabaseServer:
    """The server of a database URL: makes, swaps and drops databases there.

    Args:
        database_url: of a role that may create databases, and owns the one that is to be replaced.
    """

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self.live = database_name(database_url)
        with self._maintenance() as connection:
            self.version = connection.info.server_version

    def url(self, name: str) -> str:
        """How to connect to a database of this server."""
        return at_database(self._url, name)

    def live_tables(self) -> list[str]:
        """The tables of the live database; none if it is empty or missing."""
        with self._maintenance() as connection:
            exists = connection.execute(_sql.describe_database, {"name": self.live}).fetchone()
        if not exists:
            return []
        with connect(self._url) as connection:
            return list_tables(connection)

    def ensure_roles(self) -> None:
        """Make the platform's roles where they are missing, so that they can be granted what they had; no logins.

        Raises:
            BackupError: the login may not make roles.
        """
        with self._maintenance() as connection:
            for role in ROLES:
                if connection.execute(_sql.find_role, {"role": role}).fetchone() is None:
                    try:
                        create = (
                            _sql.create_role_that_sees_all_rows if role in SEE_ALL_ROWS else _sql.create_role
                        )
                        connection.execute(format_ddl(create, role=role))
                    except psycopg.errors.DuplicateObject:
                        continue
                    except psycopg.errors.InsufficientPrivilege as error:
                        raise BackupError(
                            f"the role {role} is missing, and this login may not make it: restore as a superuser, or "
                            "make the roles first"
                        ) from error

    def can_act_as(self, role: str) -> bool:
        """Whether the role exists here, and the login is a member of it."""
        with self._maintenance() as connection:
            row = connection.execute(_sql.can_act_as, {"role": role}).fetchone()
        return row is not None and bool(row[0])

    @contextmanager
    def scratch(self, *, owner: str | None) -> Iterator[str]:
        """A new empty database like the live one, by its name; gone afterwards, unless it was swapped in.

        What runs that were killed have left is dropped a day later.

        Raises:
            BackupError: the login may not create databases.
        """
        now = system_clock()
        prefix = f"{_shortened(self.live)}_restore_"
        name = f"{prefix}{now:{_STAMP}}_{secrets.token_hex(2)}"
        try:
            with self._maintenance() as connection:
                asked = {"prefix": prefix, "before": f"{prefix}{now - _ABANDONED_AFTER:{_STAMP}}"}
                for (abandoned,) in connection.execute(_sql.list_abandoned, asked).fetchall():
                    connection.execute(format_ddl(_sql.drop_database, name=abandoned))
                self._create(connection, name, owner)
            yield name
        finally:
            with self._maintenance() as connection:
                connection.execute(format_ddl(_sql.drop_database, name=name))

    def swap_in(self, scratch: str, *, at: datetime) -> str | None:
        """Give the live database's name to `scratch`, in one transaction; whoever is connected has to connect again.

        Returns:
            The name by which the former live database stays; None if there was none.

        Raises:
            BackupError: others keep connecting to it.
        """
        former = f"{_shortened(self.live)}_before_{at:%Y%m%dT%H%M%S}"
        with self._maintenance() as connection:
            there = connection.execute(_sql.describe_database, {"name": self.live}).fetchone() is not None
            for _ in range(_ATTEMPTS):
                try:
                    with connection.transaction():
                        if there:
                            self._rename(connection, self.live, former)
                        self._rename(connection, scratch, self.live)
                except psycopg.errors.ObjectInUse:
                    time.sleep(_PAUSE_SECONDS)
                else:
                    return former if there else None
        raise BackupError(
            f"others keep connecting to {self.live}, and nothing was changed: stop the API and the workers, then run "
            "it again"
        )

    def _create(self, connection: Connection, name: str, owner: str | None) -> None:
        like = connection.execute(_sql.describe_database, {"name": self.live}).fetchone()
        owner = owner or (like[0] if like else None)
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name))
        if owner:
            statement += sql.SQL(" OWNER {}").format(sql.Identifier(owner))
        try:
            connection.execute(statement.as_bytes(connection) + b" " + (like[1] if like else "").encode())
        except psycopg.errors.InsufficientPrivilege as error:
            raise BackupError(
                f"a restore goes through a new database, which this login may not make: {error.diag.message_primary}"
            ) from error
        # As in the migration that forbids temporary tables: a dump does not hold the rights of its database.
        connection.execute(format_ddl(_sql.revoke_all, name=name))
        if not like:
            connection.execute(format_ddl(_sql.let_connect, name=name))
        asked = {"name": self.live, "target": name}
        for (each,) in connection.execute(_sql.list_grants_and_settings, asked).fetchall():
            connection.execute(each.encode())

    def _rename(self, connection: Connection, name: str, new_name: str) -> None:
        connection.execute(_sql.end_sessions, {"name": name})
        connection.execute(format_ddl(_sql.rename_database, name=name, new_name=new_name))

    @contextmanager
    def _maintenance(self) -> Iterator[Connection]:
        with connect(self.url(_MAINTENANCE)) as connection:
            yield connection


def _shortened(name: str) -> str:
    return name.encode()[:_NAME_BYTES].decode(errors="ignore")
