"""The roles that the platform's processes connect as: each has the rights that its work needs, and no others."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Literal, get_args
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from common.database.queries import Queries
from common.errors import SsppError
from infrastructure.database.connections import Connection

Role = Literal["sspp_api", "sspp_worker", "sspp_migrator", "sspp_reporting"]
ROLES: tuple[Role, ...] = get_args(Role)

# The maintenance worker makes partitions, which is for the tables' owner.
_PROCESSES: Mapping[str, Role] = {"api": "sspp_api", "ingest": "sspp_worker", "index": "sspp_worker"}

SEE_ALL_ROWS: tuple[Role, ...] = ("sspp_worker", "sspp_migrator")
"""Those that row-level security does not bind: their work is about all tenants."""

_sql = Queries(__package__, "roles.sql")


class RoleError(SsppError):
    """The roles cannot be given what they need."""

    code = "role_error"


def enable_role(connection: Connection, role: Role, password: str) -> None:
    """Let `role`, which the migrations made, log in with `password`, and see all rows where its work is about all.

    The password goes to the server as its verifier (SCRAM), so that no log of statements has it. To be repeated with
    another password at any time.

    Raises:
        RoleError: the connection's role may not do that; who may is a superuser. Or others hold the tables.
    """
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    names = {"role": sql.Identifier(role)}
    try:
        with connection.transaction():
            connection.execute(sql.SQL(_sql.enable_login).format(**names, verifier=sql.Literal(verifier)))
            if role in SEE_ALL_ROWS:
                connection.execute(sql.SQL(_sql.see_all_rows).format(**names))
            if role == "sspp_migrator":
                own_tables(connection, role)
                # What the maintenance worker measures: without, the sessions of others count as `unknown`, which is no
                # reason to fail on servers whose administrators cannot grant it.
                with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
                    connection.execute(sql.SQL(_sql.see_all_sessions).format(**names))
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
        raise RoleError(f"{role} cannot be enabled: others hold the tables; run it again shortly") from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise RoleError(
            f"{role} cannot be enabled: {error.diag.message_primary}; run it as a superuser"
        ) from error


def own_tables(connection: Connection, role: str) -> None:
    """Let `role` do what the tables' owners may, and never what a superuser may.

    What a superuser made it gets for its own; of each other role that owns some of the tables or functions it becomes a
    member. Of a superuser it does not: a member could change to it.

    Raises:
        psycopg.errors.InsufficientPrivilege: the connection's role may not do that.
        psycopg.errors.LockNotAvailable: others hold the tables.
    """
    with connection.transaction():
        connection.execute(sql.SQL(_sql.give_to_role).format(role=sql.Literal(role)))
        for (owner,) in connection.execute(_sql.list_other_owners, {"role": role}).fetchall():
            connection.execute(
                sql.SQL(_sql.act_as_owner).format(role=sql.Identifier(role), owner=sql.Identifier(owner))
            )


def enable_process_roles(connection: Connection, password_of: Callable[[Role], str]) -> None:
    """`enable_role` for those that the API and the workers connect as.

    Raises:
        RoleError: as `enable_role`.
    """
    for role in dict.fromkeys(_PROCESSES.values()):
        enable_role(connection, role, password_of(role))


def process_url(database_url: str, process: str, password_of: Callable[[Role], str]) -> str:
    """What `process`, ``api`` or a worker's queue, connects to: `database_url`, as its role where it has one."""
    role = _PROCESSES.get(process)
    if role is None:
        return database_url
    parts = urlsplit(database_url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role}:{quote(password_of(role), safe='')}@{host}"))
