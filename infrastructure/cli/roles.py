"""``sspp roles``: the database roles of the platform's processes."""

import os
from typing import Annotated

import typer

from common.errors import SettingsError
from infrastructure.cli.console import Command, Commands, DatabaseEnvFile, database
from infrastructure.database.roles import ROLES, enable_role

roles = typer.Typer(
    cls=Commands, no_args_is_help=True, help="The database roles that the platform's processes connect as."
)

_PASSWORD = "SSPP_ROLE_PASSWORD"  # noqa: S105 - the variable's name


@roles.command(cls=Command)
def enable(
    role: Annotated[str, typer.Argument(metavar="ROLE", help=", ".join(ROLES))],
    env_file: DatabaseEnvFile = None,
) -> None:
    """Let a role log in, with the password that SSPP_ROLE_PASSWORD holds, or that is asked for."""
    if role not in ROLES:
        raise SettingsError(f"there is no role {role!r}; the roles are {', '.join(ROLES)}")
    password = os.environ.get(_PASSWORD) or typer.prompt(
        f"Password of {role}", hide_input=True, confirmation_prompt=True
    )
    with database(env_file) as connection:
        enable_role(connection, role, password)
    typer.echo(f"{role} can log in")
