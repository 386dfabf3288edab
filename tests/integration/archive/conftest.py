"""Partitions of 2050 with difficult rows, and a folder for their archives; the modules beside this can be imported."""

import sys
from pathlib import Path

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "database"))
sys.path.insert(0, str(Path(__file__).parents[1] / "backup"))
sys.path.insert(0, str(Path(__file__).parent))

from archiving import Months
from months import Connection


@pytest.fixture
def months(connection: Connection, database_url: str, tmp_path: Path) -> Months:
    """December 2049 to March 2050, with rows in December, and two tenants."""
    made = Months(connection, database_url, tmp_path / "archives")
    made.prepare()
    return made


@pytest.fixture
def other_connection(database_url: str) -> psycopg.Connection:
    return psycopg.connect(database_url, autocommit=True)
