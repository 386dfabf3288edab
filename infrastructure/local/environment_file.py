"""The file that tells a shell where a running stack is: ``KEY=value`` lines, quoted for POSIX shells."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Replace `path` by `text` at once, readable by its owner only (mode 0600) from the first byte on."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
    draft.replace(path)


def write_environment(path: Path, values: Mapping[str, str]) -> None:
    """Write `values` to `path` (mode 0600) so that ``set -a; . path`` in a shell brings them back exactly."""
    write_private(path, "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items()))
