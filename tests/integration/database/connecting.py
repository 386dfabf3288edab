"""How the tests here connect as one of the platform's roles."""

from contextlib import AbstractContextManager
from typing import Any, Protocol

import psycopg


class ConnectAs(Protocol):
    """Connects as `role`; in a tenancy, if one is given; to the test's own database, unless `url` names another."""

    def __call__(
        self, role: str, tenancy: Any = None, *, url: str = ...
    ) -> AbstractContextManager[psycopg.Connection]: ...
