"""What the maintenance worker may see, as the role that `sspp roles enable` makes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from own_postgres import own_postgres

from common.clock import system_clock
from common.database.connections import open_pool
from common.metrics import Metrics
from infrastructure.database.connections import connect
from infrastructure.database.migrate import migrate
from infrastructure.database.roles import enable_role
from worker.measuring.database import measure_activity, measure_sizes


@pytest.fixture
def own_server(data_folder_path: Path) -> Iterator[str]:
    """Roles belong to a whole server: this one is the test's own."""
    with own_postgres(data_folder_path) as url:
        migrate(url)
        yield url


def test_the_migrators_role_measures_everything_and_sees_what_others_do(own_server: str, until: Any) -> None:
    with connect(own_server) as connection:
        enable_role(connection, "sspp_migrator", "a password")
    parts = urlsplit(own_server)
    url = urlunsplit(parts._replace(netloc=f"sspp_migrator:a%20password@{parts.netloc.rpartition('@')[2]}"))
    metrics = Metrics()

    def shown(name: str, **labels: str) -> float:
        return metrics.registry.get_sample_value(name, labels) or 0

    with psycopg.connect(own_server) as other, open_pool(url, application="test") as pool:
        other.execute("SELECT 1")  # and stays in its transaction

        def seen() -> bool:
            measure_activity(pool, metrics)
            return shown("sspp_database_oldest_transaction_seconds") > 0.1

        until(seen)
        assert shown("sspp_database_connections", state="idle in transaction") == 1
        assert shown("sspp_database_connections", state="unknown") == 0
        measure_sizes(pool, metrics, system_clock)
    assert shown("sspp_database_bytes") > 0
