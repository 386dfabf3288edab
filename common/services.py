"""What a worker process works with: built once at its entry point, handed to everything, closed at its end."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from elasticsearch import Elasticsearch
from psycopg_pool import ConnectionPool
from redis import Redis

from common.clock import Clock, system_clock
from common.database.connections import open_pool
from common.metrics import Metrics
from common.redis import open_redis
from common.search.client import open_client
from common.settings import Settings
from common.tracing.opening import open_tracing
from common.tracing.tracing import NO_TRACING, Tracing
from common.wakeup import Waker


@dataclass(frozen=True, slots=True)
class Services:
    """The edges of a process and what it measures and tells the time by."""

    settings: Settings
    redis: Redis
    pool: ConnectionPool
    search: Elasticsearch
    waker: Waker
    metrics: Metrics
    clock: Clock = system_clock
    tracing: Tracing = NO_TRACING


@contextmanager
def open_services(settings: Settings, *, application: str) -> Iterator[Services]:
    """Build the services of a process; connections open on first use, and close at the end.

    Raises:
        SettingsError: a setting names what cannot be had.
    """
    tracing = open_tracing(settings, service=application)
    client = open_redis(settings.redis_url.get_secret_value())
    database_url = settings.database_url.get_secret_value()
    with open_pool(database_url, application=application, connection_class=tracing.connection_class) as pool:
        search = open_client(
            settings.elasticsearch_url.get_secret_value(),
            ca_file=settings.elasticsearch_ca_file,
            client_class=tracing.search_class,
        )
        try:
            waker = Waker(client, liveness_seconds=settings.liveness_seconds)
            yield Services(settings, client, pool, search, waker, Metrics(), tracing=tracing)
        finally:
            search.close()
            client.close()
            tracing.close()
