"""Where to send: the API's address and key, from the environment or from what `sspp up` wrote."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from infrastructure.loading.errors import LoadError

URL = "SSPP_API_URL"
KEY = "SSPP_API_KEY"
ADMIN_KEY = "SSPP_ADMIN_KEY"
DEFAULT_ENV_FILE = Path(".sspp/env")


@dataclass(frozen=True, slots=True)
class Target:
    """An API and the key for it; the key is kept out of any printed form."""

    url: str
    key: str = field(repr=False)


def find_target(
    environ: Mapping[str, str],
    *,
    url: str | None = None,
    env_file: Path | None = None,
    key_name: str = KEY,
) -> Target:
    """Take address and key from `url`, then `environ`, then `env_file` (default: ``.sspp/env``, if there).

    `key_name` is the variable that holds the key.

    Raises:
        LoadError: one of them is nowhere to be found, `env_file` cannot be read, or the address is not http(s).
    """
    written = _read_env_file(env_file or DEFAULT_ENV_FILE, required=env_file is not None)
    address = url or environ.get(URL) or written.get(URL)
    key = environ.get(key_name) or written.get(key_name)
    missing = [name for name, value in ((URL, address), (key_name, key)) if not value]
    if not address or not key:
        raise LoadError(
            f"{' and '.join(missing)} not found in the environment nor in {env_file or DEFAULT_ENV_FILE}. "
            "Start the local stack with `sspp up`, or set them."
        )
    if urlsplit(address).scheme not in {"http", "https"} or not urlsplit(address).hostname:
        raise LoadError(f"{address} is not an http(s) address.")
    return Target(address.rstrip("/"), key)


def _read_env_file(path: Path, *, required: bool) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        if required:
            raise LoadError(f"Cannot read {path}: {error.strerror or error}.") from None
        return {}
    values = {}
    for line in lines:
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            raise LoadError(f"{path} is not a file of KEY=value lines.") from None
        for word in words:
            name, equals, value = word.partition("=")
            if equals:
                values[name] = value
    return values
