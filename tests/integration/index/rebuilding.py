"""Rebuilds of a test's own index: run to their end, broken off on the way, planned anew."""

import io
from datetime import date
from typing import Any

import psycopg
import pytest
from elasticsearch import Elasticsearch
from rich.console import Console

from common.search.generations import read_generations
from infrastructure.search.rebuilds import Rebuild, plan_rebuilds
from infrastructure.search.reindex import Reindexer
from infrastructure.search.reindex_progress import LineProgress


class StopError(Exception):
    """Ends a rebuild."""


class StopAfter(LineProgress):
    """Ends the rebuild once so many documents are copied."""

    def __init__(self, documents: int) -> None:
        super().__init__(Console(file=io.StringIO()), quiet=True)
        self._left = documents

    def advance(self, documents: int) -> None:
        self._left -= documents
        if self._left <= 0:
            raise StopError


class Rebuilds:
    """Rebuilds what there is to rebuild, four signals a page, and drops former indices at once."""

    def __init__(self, connection: psycopg.Connection, client: Elasticsearch) -> None:
        self.connection = connection
        self._client = client
        self._lines = io.StringIO()

    @property
    def said(self) -> str:
        """What rebuilds told so far; those that were interrupted told nothing."""
        return self._lines.getvalue()

    def plan(self, *months: date, restart: bool = False) -> list[Rebuild]:
        return plan_rebuilds(self.connection, months, restart=restart)

    def unfinished(self) -> list[date]:
        """The months of which two generations are written."""
        return [indices.month for indices in read_generations(self.connection).rebuilding()]

    def reindexer(self, **options: Any) -> Reindexer:
        """What rebuilds, with other `options` than usual, `connection` and `client` among them."""
        options = {
            "connection": self.connection,
            "client": self._client,
            "progress": LineProgress(Console(file=self._lines, width=200), quiet=False),
            "page_signals": 4,
            "grace_seconds": 0.0,
            **options,
        }
        return Reindexer(**options)

    def run(self, *months: date, **options: Any) -> int:
        """Rebuild what there is to rebuild; returns how many documents were copied."""
        return self.reindexer(**options).run(self.plan(*months))

    def interrupt(self, documents: int, *months: date) -> None:
        """Begin a rebuild and end it once so many documents are copied."""
        with pytest.raises(StopError):
            self.run(*months, progress=StopAfter(documents))
