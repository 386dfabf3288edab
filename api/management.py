"""How the rules that the API shares with the command line are asked: `common.tenancy`, `common.event_types`."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Concatenate, ParamSpec, TypeVar

from fastapi import Request

from common.database.connections import translated_errors
from common.database.tenancy import SET_TENANCY
from common.tenancy.tenants import Connection

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")


async def call_rule(
    request: Request,
    tenancy: Mapping[str, str],
    rule: Callable[Concatenate[Connection, _Arguments], _Answer],
    *args: _Arguments.args,
    **kwargs: _Arguments.kwargs,
) -> _Answer:
    """What `rule` answers when called with a connection and the arguments: in a thread and in one transaction.

    That sees the rows of `tenancy`, one of `common.database.tenancy`.

    Raises:
        DatabaseUnavailableError: PostgreSQL is away or busy.
        Exception: whatever `rule` raises.
    """
    pool = request.app.state.services.management

    def run() -> _Answer:
        with translated_errors(), pool.connection() as connection:
            connection.execute(SET_TENANCY, tenancy)
            return rule(connection, *args, **kwargs)

    return await asyncio.to_thread(run)
