"""Statements to PostgreSQL as spans, by the names that they have in our ``.sql`` files."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from opentelemetry.trace import Span
from psycopg import Connection, Copy, Cursor

from common.database.queries import statement_name

ClientSpan = Callable[[str, dict[str, str | int]], AbstractContextManager[Span | None]]
"""Of a name and attributes: the span of one request to a store."""


def traced_connection(client_span: ClientSpan) -> type[Connection]:
    """A class of connections whose statements, and what ends their transactions, are spans.

    Statements that have no name, and those read through a cursor of the server's, are not: the time of the latter is
    that of their readers.
    """

    def span_of(statement: object) -> AbstractContextManager[Span | None]:
        name = statement_name(statement) if isinstance(statement, str) else None
        return named_span(name or "statement")

    def named_span(name: str) -> AbstractContextManager[Span | None]:
        return client_span(name, {"db.system.name": "postgresql", "db.query.summary": name})

    class TracedCursor(Cursor[Any]):
        def execute(self, query: Any, *args: Any, **options: Any) -> Any:
            with span_of(query):
                return super().execute(query, *args, **options)

        @contextmanager
        def copy(self, statement: Any, *args: Any, **options: Any) -> Iterator[Copy]:
            with span_of(statement), super().copy(statement, *args, **options) as copy:
                yield copy

    class TracedConnection(Connection[Any]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.cursor_factory = TracedCursor

        def commit(self) -> None:
            with named_span("COMMIT"):
                super().commit()

    return TracedConnection
