"""The account that PostgreSQL runs as. It refuses to run as root, and no account is ever created for it."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from infrastructure.local.errors import LocalStackError

_UNPRIVILEGED = ("nobody", "daemon")


@dataclass(frozen=True)
class Account:
    """A system account, by numbers."""

    uid: int
    gid: int

    def can(self, *argv: str) -> bool:
        """Whether the account can run `argv` successfully: a trial also answers for ACLs and mount options."""
        try:
            done = subprocess.run(  # noqa: S603  # an argument list of our own, no shell
                argv,
                user=self.uid,
                group=self.gid,
                extra_groups=[],
                cwd="/",
                env={"LC_ALL": "C"},
                capture_output=True,
                check=False,
            )
        except OSError:
            return False
        return done.returncode == 0

    def can_enter(self, folder: Path) -> bool:
        """Whether the account gets into `folder` through all of its parents."""
        return self.can("/bin/sh", "-c", 'cd "$1"', "sh", str(folder))


def account_for(folder: Path) -> Account | None:
    """Whom to run a server as that refuses root and whose data is in `folder`, which need not exist yet.

    Returns:
        None, our own account, unless we are root; then the folder's owner, or an unprivileged system account.

    Raises:
        LocalStackError: we are root and the system has no such account.
    """
    if os.geteuid() != 0:
        return None
    if folder.exists() and (status := folder.stat()).st_uid != 0:
        return Account(status.st_uid, status.st_gid)
    for name in _UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise LocalStackError(
        "PostgreSQL does not run as root, and this system has neither an account nobody nor daemon; "
        "start the stack as a normal user"
    )
