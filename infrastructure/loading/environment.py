"""Variables that commands need, from the environment or else from the file that `sspp up` wrote."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from common.errors import SettingsError

DEFAULT_ENV_FILE = Path(".sspp/env")


def find_variables(
    names: Sequence[str], environ: Mapping[str, str], *, env_file: Path | None = None
) -> dict[str, str]:
    """The values of `names`, each from `environ` or else from `env_file` (default: ``.sspp/env``, if there).

    An empty value counts as none. The default file is looked for in the current folder.

    Raises:
        SettingsError: some of them are nowhere to be found, or `env_file` cannot be read.
    """
    written = _read(env_file or DEFAULT_ENV_FILE, required=env_file is not None)
    found = {name: environ.get(name) or written.get(name, "") for name in names}
    if missing := [name for name in names if not found[name]]:
        raise SettingsError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set, neither in the environment "
            f"nor in {env_file or DEFAULT_ENV_FILE}. Start the local stack with `sspp up`, or set what is missing."
        )
    return found


def _read(path: Path, *, required: bool) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        if required:
            raise SettingsError(f"Cannot read {path}: {error.strerror or error}.") from None
        return {}
    values = {}
    for line in lines:
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            raise SettingsError(f"{path} is not a file of KEY=value lines.") from None
        for word in words:
            name, equals, value = word.partition("=")
            if equals:
                values[name] = value
    return values
