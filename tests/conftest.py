"""Real servers for the tests: PostgreSQL, Valkey and search.

Each test process (each xdist worker is one) starts its own embedded servers when a test first asks for one,
in a folder of its own, and removes them at the end: nothing is shared, so nothing can interfere.

The same tests run against other servers, named by DATABASE_URL, REDIS_URL and ELASTICSEARCH_URL. Those of a
running platform are left alone: in a shell that has read ``.sspp/env``, RQ_WORKER_CLASS tells (`given_servers`).
What the platform calls its databases, keys and indices is fixed, so the rules are:

- PostgreSQL: every test gets a database of its own, ``sspp_test_…``; existing ones are never touched. The user
  needs CREATEDB.
- Redis: keys cannot be told from those of a platform in use, so tests are skipped unless
  SSPP_TEST_REDIS_FLUSH=1 allows to flush databases: two for each xdist worker, counted up from the URL's.
- Elasticsearch: likewise, SSPP_TEST_SEARCH_RESET=1 allows to delete the indices and templates ``signals*``;
  as their names are fixed, tests that use them then take turns.

All tests can import the modules beside this one.
"""

import fcntl
import functools
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

import httpx
import hypothesis
import psycopg
import pytest
from httpx._transports import default as _transports
from psycopg import sql

from common.redis import open_redis
from common.settings import load_settings
from infrastructure.local.errors import LocalStackError
from infrastructure.local.folder import DataFolder
from infrastructure.local.stack import Servers, queue_environment
from infrastructure.local.supervisor import Supervisor

sys.path.insert(0, str(Path(__file__).parent))

from given_servers import take_given_servers
from order import dealt
from patience import PATIENCE_SECONDS

# Whoever is started in the background, or below nohup, inherits SIGINT as ignored, and so do the tests' children.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How fast inputs are made and tests run is the machine's business, which may have other work too.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

# Each of httpx's clients, each single request, reads all certificates that the machine trusts: more work than most
# tests' own. None of them meets such a certificate, so all share what was read once.
_transports.create_ssl_context = functools.cache(_transports.create_ssl_context)  # type: ignore[attr-defined]

_PREFIX = "sspp-test-"
# Read before any test changes the environment.
_GIVEN = take_given_servers(os.environ)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have xdist's workers begin with long tests: those that have a longer timeout than others."""
    if (workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0"))) < 2:
        return
    long = [item for item in items if _is_long(item)]
    files = [list(tests) for _, tests in groupby(long, key=lambda item: item.path)]
    items[:] = dealt(files, [item for item in items if not _is_long(item)], workers)


def _is_long(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("timeout")
    return marker is not None and marker.args[0] > float(item.config.getini("timeout"))


class Until(Protocol):
    """Polls `condition` until it is truthy and returns that value.

    Fails the test when it is not true of a look begun `timeout` seconds after the first: however long looks take.
    """

    def __call__(self, condition: Callable[[], Any], timeout: float = PATIENCE_SECONDS) -> Any: ...


@pytest.fixture(scope="session")
def until() -> Until:
    def poll(condition: Callable[[], Any], timeout: float = PATIENCE_SECONDS) -> Any:
        deadline = (begun := time.monotonic()) + timeout
        while not (value := condition()):
            if begun > deadline:
                pytest.fail(f"not true within {timeout} seconds: {getattr(condition, '__name__', condition)}")
            time.sleep(0.02)
            begun = time.monotonic()
        return value

    return poll


@pytest.fixture
def unserved_port() -> Iterator[int]:
    """A port that nobody answers on, held so that nobody comes to."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture
def data_folder_path() -> Iterator[Path]:
    """A fresh, short path for a local stack's data; whatever is in it afterwards is removed."""
    with _temporary_folder() as path:
        yield path


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """This process's servers: embedded ones, except those given."""
    _remove_left_over()
    with _temporary_folder() as path:
        folder = DataFolder(path)
        folder.hold()
        supervisor = Supervisor(folder, report=print)
        try:
            servers = Servers(folder, _GIVEN, durable=False)
            servers.start(supervisor)
            yield servers
        finally:
            supervisor.stop()
            folder.release()


@pytest.fixture(scope="session")
def postgres_server(servers: Servers) -> str:
    """The URL of a database on the session's server: good for making others, not for tables."""
    return servers.urls["DATABASE_URL"]


@pytest.fixture(scope="session")
def template_database(postgres_server: str) -> Iterator[str]:
    """The name of a migrated database to clone; nothing may be connected to it."""
    from infrastructure.database.migrate import migrate

    with _database(postgres_server) as name:
        migrate(_at_database(postgres_server, name))
        yield name


@pytest.fixture(scope="session")
def logins(postgres_server: str, template_database: str) -> Iterator[Callable[[str, str], str]]:
    """Makes a URL of a test database that of a login which has the rights of one of the platform's roles.

    URLs of other servers stay as they are. The roles themselves are not touched: on a server that was given, they may
    be in use.
    """
    made: dict[str, str] = {}
    server = urlsplit(postgres_server)

    def url_as(url: str, role: str) -> str:
        parts = urlsplit(url)
        if (parts.hostname, parts.port) != (server.hostname, server.port):
            return url
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            if role not in made:
                name, password = f"sspp_test_{secrets.token_hex(6)}", secrets.token_hex(16)
                attributes = sql.SQL("" if role in ("sspp_api", "sspp_reporting") else "BYPASSRLS")
                connection.execute(
                    sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE {}").format(
                        sql.Identifier(name), sql.Literal(password), sql.Identifier(role)
                    )
                    + sql.SQL(" ")
                    + attributes
                )
                made[role] = f"{name}:{password}"
        return urlunsplit(parts._replace(netloc=f"{made[role]}@{parts.netloc.rpartition('@')[2]}"))

    yield url_as
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        for login in made.values():
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(login.partition(":")[0])))


@pytest.fixture
def empty_database_url(postgres_server: str) -> Iterator[str]:
    """A database of this test's own without any table."""
    with _database(postgres_server) as name:
        yield _at_database(postgres_server, name)


@pytest.fixture
def database_url(postgres_server: str, template_database: str) -> Iterator[str]:
    """A migrated database of this test's own."""
    with _database(postgres_server, template=template_database) as name:
        yield _at_database(postgres_server, name)


@pytest.fixture
def redis_url(servers: Servers, worker_id: str) -> str:
    """An empty Redis of this test's own; the database after it, the cache, is empty too."""
    url = servers.urls["REDIS_URL"]
    if "REDIS_URL" in _GIVEN:
        if os.environ.get("SSPP_TEST_REDIS_FLUSH") != "1":
            pytest.skip("REDIS_URL is given; SSPP_TEST_REDIS_FLUSH=1 allows the tests to flush its databases")
        first = int(urlsplit(url).path.strip("/") or 0)
        url = _at_database(url, str(first + 2 * int(worker_id.removeprefix("gw").replace("master", "0"))))
    for each in (url, _cache_of(url)):
        with open_redis(each) as client:
            client.flushdb()
    return url


@pytest.fixture
def elasticsearch_url(servers: Servers) -> Iterator[str]:
    """A search server without any index or template ``signals*``."""
    url = servers.urls["ELASTICSEARCH_URL"]
    if "ELASTICSEARCH_URL" not in _GIVEN:
        _reset_search(url)
        yield url
        return
    if os.environ.get("SSPP_TEST_SEARCH_RESET") != "1":
        pytest.skip(
            "ELASTICSEARCH_URL is given; SSPP_TEST_SEARCH_RESET=1 allows the tests to delete signals*"
        )
    with (Path(tempfile.gettempdir()) / f"sspp-test-search-{os.getuid()}.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        _reset_search(url)
        yield url


@pytest.fixture
def environment(
    database_url: str, redis_url: str, elasticsearch_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """This test's servers as environment variables, set for the test and returned."""
    urls = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "CACHE_URL": _cache_of(redis_url),
        "ELASTICSEARCH_URL": elasticsearch_url,
    }
    values = urls | queue_environment(urls)
    if "REDIS_URL" in _GIVEN:  # a developer's own may well be without AOF
        values["SSPP_ENVIRONMENT"] = "development"
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    load_settings.cache_clear()
    yield values
    load_settings.cache_clear()


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix=_PREFIX))
    # pytest's own folders are closed to others, and so to the account that PostgreSQL runs as under root.
    path.chmod(0o711)
    try:
        yield path
    finally:
        _remove(path)


def _remove(path: Path) -> None:
    for home in path.rglob("postgres"):
        if home.is_symlink():
            shutil.rmtree(home.resolve(), ignore_errors=True)
    shutil.rmtree(path, ignore_errors=True)


def _remove_left_over() -> None:
    """Stop the servers and remove the folders of test runs that were killed."""
    for lock in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/lock"):
        try:
            status = lock.stat()
            if status.st_uid != os.getuid() or time.time() - status.st_mtime < 60:
                continue
            folder = DataFolder(lock.parent)
            folder.hold(patience_seconds=1)
        except (LocalStackError, OSError):  # in use, or removed by another process just now
            continue
        folder.release()
        _remove(lock.parent)


def _at_database(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


def _cache_of(redis_url: str) -> str:
    return _at_database(redis_url, str(int(urlsplit(redis_url).path.strip("/") or 0) + 1))


@contextmanager
def _database(server: str, template: str = "template1") -> Iterator[str]:
    name = f"sspp_test_{secrets.token_hex(6)}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
    try:
        yield name
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(drop.format(sql.Identifier(name)))


def _reset_search(url: str) -> None:
    # By name: a real cluster refuses to delete by wildcard.
    with httpx.Client(base_url=url, timeout=30) as client:
        found = client.get("/_cat/indices/signals*", params={"format": "json"})
        for index in found.json() if found.is_success else []:
            client.delete(f"/{index['index']}")
        found = client.get("/_index_template/signals*")
        for template in found.json().get("index_templates", []) if found.is_success else []:
            client.delete(f"/_index_template/{template['name']}")
