"""Where to send: the API's address and key, from the environment or from what `sspp up` wrote."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from common.errors import SettingsError
from infrastructure.loading.environment import find_variables

URL = "SSPP_API_URL"
KEY = "SSPP_API_KEY"
ADMIN_KEY = "SSPP_ADMIN_KEY"


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
        SettingsError: one of them is nowhere to be found, `env_file` cannot be read, or the address is not
            http(s).
    """
    given = {**environ, URL: url} if url else environ
    found = find_variables((URL, key_name), given, env_file=env_file)
    address = found[URL]
    if urlsplit(address).scheme not in {"http", "https"} or not urlsplit(address).hostname:
        raise SettingsError(f"{address} is not an http(s) address.")
    return Target(address.rstrip("/"), found[key_name])
