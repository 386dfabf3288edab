"""infrastructure/scripts/setup.sh, run on a machine of the tests' own: with the tools of every system, and no more."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from checkout import ROOT

SCRIPT = "infrastructure/scripts/setup.sh"

# Neither docker nor podman is among them, wherever they are installed.
_TOOLS = (
    *("bash", "cat", "curl", "dirname", "env", "find", "git", "grep", "ln", "mv", "od"),
    *("rm", "sed", "sh", "sleep", "sort", "tail", "tr", "uniq"),
)

Run = Callable[..., subprocess.CompletedProcess[str]]


def copy_script(folder: Path) -> Path:
    """As much of a checkout as the script looks at, in `folder`."""
    for name in (".env.example", "docker-compose.yml", "pyproject.toml", SCRIPT):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


def machine_without_containers(checkout: Path, bin_folder: Path) -> Run:
    """Runs the script of `checkout` with the arguments and the environment given, and no programs but its tools."""
    bin_folder.mkdir()
    for tool in _TOOLS:
        if found := shutil.which(tool):
            (bin_folder / tool).symlink_to(found)

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [checkout / SCRIPT, *arguments],
            env={"PATH": str(bin_folder), **environment},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )

    return run
