"""A PostgreSQL for one test: where it asks for settings of its own, or changes what a whole server shares."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from infrastructure.local.folder import DataFolder
from infrastructure.local.postgres import Postgres
from infrastructure.local.supervisor import Supervisor


@contextmanager
def own_postgres(data_folder: Path, **settings: str) -> Iterator[str]:
    """The URL of an empty database on a server with `settings`, for a superuser; it runs as long as the context."""
    folder = DataFolder(data_folder)
    folder.hold()
    supervisor = Supervisor(folder, report=print)
    try:
        postgres = Postgres(folder, durable=False)
        command = postgres.prepare()
        options = [
            word
            for name, value in {"shared_buffers": "16MB", **settings}.items()
            for word in ("-c", f"{name}={value}")
        ]
        supervisor.start([replace(command, argv=(*command.argv, *options))])
        yield postgres.url
    finally:
        supervisor.stop()
        folder.release()
