"""An embedded search server with Elasticsearch's API."""

import http.client
import os
from importlib.util import find_spec
from pathlib import Path

from infrastructure.local.errors import LocalStackError
from infrastructure.local.folder import DataFolder
from infrastructure.local.ports import HOST
from infrastructure.local.process import Command


class Search:
    """noida-db, only its Elasticsearch face, on the loopback address and with its data in `folder`."""

    name = "search"
    variable = "ELASTICSEARCH_URL"

    def __init__(self, folder: DataFolder) -> None:
        self._home = folder.path / "search"
        self._port = folder.port(self.name)

    @property
    def url(self) -> str:
        """The server's URL; it has no password, as this server knows none."""
        return f"http://{HOST}:{self._port}"

    def prepare(self) -> Command:
        """Make the data folder and say how to run it.

        Raises:
            LocalStackError: the server is not installed.
        """
        spec = find_spec("noida_db")
        if spec is None or spec.origin is None:
            raise LocalStackError("noida-db is not installed; install sspp[local]")
        self._home.mkdir(mode=0o700, exist_ok=True)
        # A killed server leaves this note of its number behind, and the next one believes it if any other
        # process has got that number since. The data folder's lock is the better witness.
        (self._home / "noida.control.json").unlink(missing_ok=True)
        argv = (
            str(Path(spec.origin).with_name("noida-db")),
            "start",
            *("--only", "elasticsearch"),
            *("--elasticsearch-port", str(self._port)),
            *("--host", HOST),
            *("--data-dir", str(self._home)),
        )
        return Command(
            name=self.name,
            argv=argv,
            environment={"PATH": os.defpath, "LC_ALL": "C", "HOME": str(self._home)},
            cwd=Path("/"),
            is_ready=self._is_ready,
        )

    def _is_ready(self) -> bool:
        return answers_ok(self._port, "/")


def answers_ok(port: int, path: str) -> bool:
    """Whether an HTTP server on the loopback address answers GET `path` with 200."""
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
