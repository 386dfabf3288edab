"""The embedded servers, really started, killed and started again."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
import redis

from common.redis import open_redis
from infrastructure.local import postgres as postgres_module
from infrastructure.local.errors import LocalStackError
from infrastructure.local.folder import DataFolder
from infrastructure.local.ports import is_free
from infrastructure.local.stack import Applications, Servers
from infrastructure.local.supervisor import Supervisor

Until = Callable[..., object]
NAMES = ("postgres", "valkey", "search")


class Running:
    def __init__(self, folder: DataFolder, servers: Servers, supervisor: Supervisor) -> None:
        self.folder = folder
        self.servers = servers
        self.supervisor = supervisor

    def sql(self, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.servers.urls["DATABASE_URL"], autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def redis(self) -> redis.Redis:
        return open_redis(self.servers.urls["REDIS_URL"])

    def search(self, method: str, path: str, **options: object) -> httpx.Response:
        url = self.servers.urls["ELASTICSEARCH_URL"]
        return httpx.request(method, url + path, timeout=10, **options).raise_for_status()

    def all_answer(self) -> bool:
        self.supervisor.tick()
        return all(server.prepare().is_ready() for server in self.servers.embedded)


@contextmanager
def running(path: Path) -> Iterator[Running]:
    folder = DataFolder(path)
    folder.hold()
    supervisor = Supervisor(folder, report=print)
    try:
        servers = Servers(folder)
        servers.start(supervisor)
        yield Running(folder, servers, supervisor)
    finally:
        supervisor.stop()
        folder.release()


def write_everywhere(stack: Running) -> None:
    stack.sql("CREATE TABLE kept (value text)")
    stack.sql("INSERT INTO kept VALUES ('kept')")
    with stack.redis() as client:
        client.set("kept", "kept")
    stack.search("PUT", "/kept/_doc/1?refresh=true", json={"value": "kept"})


def assert_kept_everywhere(stack: Running) -> None:
    assert stack.sql("SELECT value FROM kept") == [("kept",)]
    with stack.redis() as client:
        assert client.get("kept") == b"kept"
    assert stack.search("GET", "/kept/_doc/1").json()["_source"] == {"value": "kept"}


def test_data_ports_and_passwords_survive_a_restart(data_folder_path: Path) -> None:
    with running(data_folder_path) as stack:
        write_everywhere(stack)
        urls = stack.servers.urls
    with running(data_folder_path) as stack:
        assert stack.servers.urls == urls
        assert_kept_everywhere(stack)


@pytest.fixture(scope="module")
def shared_stack() -> Iterator[Running]:
    path = Path(tempfile.mkdtemp(prefix="sspp-test-"))
    path.chmod(0o711)
    with running(path) as stack:
        yield stack
    shutil.rmtree(path, ignore_errors=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_server_is_started_again_at_the_same_address(
    shared_stack: Running, name: str, until: Until
) -> None:
    dead = shared_stack.supervisor.pid(name)
    os.kill(dead, signal.SIGKILL)

    def came_back() -> bool:
        return shared_stack.all_answer() and shared_stack.supervisor.pid(name) != dead

    until(came_back)


def test_what_redis_acknowledged_survives_its_death(shared_stack: Running, until: Until) -> None:
    with shared_stack.redis() as client:
        client.set("acknowledged", 1)
    os.kill(shared_stack.supervisor.pid("valkey"), signal.SIGKILL)
    until(shared_stack.all_answer)
    with shared_stack.redis() as client:
        assert client.get("acknowledged") == b"1"


def test_redis_never_drops_and_always_syncs(shared_stack: Running) -> None:
    with shared_stack.redis() as client:
        settings = client.config_get("append*", "maxmemory-policy")
    assert (settings["appendonly"], settings["appendfsync"]) == ("yes", "always")
    assert settings["maxmemory-policy"] == "noeviction"


def test_postgresql_is_durable_and_speaks_utf8(shared_stack: Running) -> None:
    rows = shared_stack.sql("SELECT current_setting('fsync'), current_setting('synchronous_commit')")
    assert rows == [("on", "on")]
    assert shared_stack.sql("SELECT upper('é'), 'é' > 'z'") == [("É", True)]


@pytest.mark.parametrize("name", ["postgres", "valkey"])
def test_a_wrong_password_is_refused(shared_stack: Running, name: str) -> None:
    url = {server.name: server.url for server in shared_stack.servers.embedded}[name]
    wrong = url.replace(shared_stack.folder.password(name), "wrong")
    with pytest.raises((psycopg.OperationalError, redis.AuthenticationError)):
        psycopg.connect(wrong) if name == "postgres" else open_redis(wrong).ping()


def test_no_password_is_on_a_command_line(shared_stack: Running) -> None:
    words = [word for server in shared_stack.servers.embedded for word in server.prepare().argv]
    for name in ("postgres", "valkey"):
        assert not [word for word in words if shared_stack.folder.password(name) in word]


def test_secrets_are_for_the_owner_only(shared_stack: Running) -> None:
    path = shared_stack.folder.path
    assert stat.S_IMODE((path / "state.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((path / "valkey" / "valkey.conf").stat().st_mode) == 0o600
    for private in ("logs", "run", "postgres", "valkey", "search"):
        assert stat.S_IMODE((path / private).stat().st_mode) == 0o700


def test_servers_that_a_killed_stack_left_are_ended_and_their_data_found(
    data_folder_path: Path,
) -> None:
    script = (
        "import os, pathlib, signal, sys\n"
        "from infrastructure.local.folder import DataFolder\n"
        "from infrastructure.local.stack import Servers\n"
        "from infrastructure.local.supervisor import Supervisor\n"
        "folder = DataFolder(pathlib.Path(sys.argv[1])); folder.hold()\n"
        "servers = Servers(folder); servers.start(Supervisor(folder, report=print))\n"
        "import psycopg; connection = psycopg.connect(servers.urls['DATABASE_URL'], autocommit=True)\n"
        "connection.execute('CREATE TABLE kept AS SELECT 1 AS value')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(data_folder_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    folder = DataFolder(data_folder_path)
    assert sorted(folder.hold()) == sorted(NAMES)
    folder.release()
    with running(data_folder_path) as stack:
        assert stack.sql("SELECT value FROM kept") == [(1,)]


def test_a_killed_initialisation_is_begun_anew(data_folder_path: Path) -> None:
    home = data_folder_path / "postgres"
    (home / "data.new").mkdir(parents=True)
    (home / "data.new" / "half").touch()
    with running(data_folder_path) as stack:
        assert stack.sql("SELECT 1") == [(1,)]


def test_a_given_server_is_used_and_not_started(data_folder_path: Path) -> None:
    folder = DataFolder(data_folder_path)
    folder.hold()
    given = {"DATABASE_URL": "postgresql://elsewhere/db", "REDIS_URL": "redis://elsewhere/3"}
    servers = Servers(folder, given)
    folder.release()
    assert [server.name for server in servers.embedded] == ["search"]
    assert servers.urls["DATABASE_URL"] == given["DATABASE_URL"]
    assert servers.urls["CACHE_URL"] == "redis://elsewhere/1"


def test_a_shell_that_names_the_folders_own_servers_still_starts_them(data_folder_path: Path) -> None:
    folder = DataFolder(data_folder_path)
    folder.hold()
    told = Servers(folder).urls
    again = Servers(folder, told)
    folder.release()
    assert [server.name for server in again.embedded] == list(NAMES)


def test_a_taken_port_is_refused_by_name(shared_stack: Running) -> None:
    taken = shared_stack.folder.last_port("valkey")
    assert taken is not None
    assert not is_free(taken)
    with pytest.raises(LocalStackError, match=f"port {taken} is in use"):
        Applications(shared_stack.folder, {}, port=taken)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has folders that PostgreSQL's account cannot enter")
def test_below_a_closed_folder_postgresql_lives_elsewhere_and_no_folder_is_opened(
    data_folder_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system_folder = data_folder_path / "system"
    monkeypatch.setattr(postgres_module, "_SYSTEM_FOLDER", system_folder)
    closed = data_folder_path / "closed"
    closed.mkdir(mode=0o700)
    with running(closed / "stack") as stack:
        write_everywhere(stack)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    home = closed / "stack" / "postgres"
    assert home.resolve().parent == system_folder
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    with running(closed / "stack") as stack:
        assert_kept_everywhere(stack)
