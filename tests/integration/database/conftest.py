"""A connection to a database for the tests here, which can import the module `months`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """To a migrated database of the test's own, in autocommit mode."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection
