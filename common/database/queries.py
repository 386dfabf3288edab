"""SQL lives in ``.sql`` files beside the code that owns it; this loads them by name."""

import re
from collections.abc import Iterator
from importlib.resources import files
from typing import LiteralString, cast

_names: dict[str, str] = {}
_NAME = re.compile(r"^-- name: ([a-z][a-z0-9_]*)\s*$", re.MULTILINE)


class Queries:
    """The named statements of one ``.sql`` file, as attributes.

    A statement begins at a line ``-- name: verb_noun`` and ends at the next one. Placeholders are psycopg's
    (``%(tenant_id)s``). An unknown name raises AttributeError.
    """

    def __init__(self, package: str, filename: str) -> None:
        pieces = _NAME.split(files(package).joinpath(filename).read_text(encoding="utf-8"))
        self._source = f"{package}/{filename}"
        self._statements = {
            name: statement.strip() for name, statement in zip(pieces[1::2], pieces[2::2], strict=True)
        }
        _names.update((statement, name) for name, statement in self._statements.items())

    def __getattr__(self, name: str) -> LiteralString:
        try:
            # Files are part of the program, not input: as trustworthy as a literal in the code.
            return cast("LiteralString", self._statements[name])
        except KeyError:
            raise AttributeError(f"{self._source} has no statement named {name}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._statements)


def statement_name(statement: str) -> str | None:
    """The name of a statement that was loaded from a file; None if it is none of those."""
    return _names.get(statement)
