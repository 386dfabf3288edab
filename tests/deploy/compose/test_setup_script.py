"""infrastructure/scripts/setup.sh up to where containers are started; test_containers.py goes on from there."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from checkout import EXAMPLE, ROOT, read_variables

SCRIPT = "infrastructure/scripts/setup.sh"

# What every system has. Neither docker nor podman is among them, wherever they are installed.
TOOLS = ("bash", "cat", "cmp", "dirname", "env", "git", "grep", "mv", "od", "rm", "sed", "tail", "tr")

Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """As much of a checkout as the script looks at."""
    for name in (".env.example", "docker-compose.yml", "pyproject.toml", SCRIPT):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def run(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs the script on a machine that has no containers."""
    bin_folder = tmp_path_factory.mktemp("bin")
    for tool in TOOLS:
        (bin_folder / tool).symlink_to(str(shutil.which(tool)))

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


def passwords(checkout: Path) -> dict[str, str]:
    found = read_variables(checkout / ".env")
    return {name: value for name, value in found.items() if name.endswith("_PASSWORD")}


def test_it_makes_a_file_with_a_password_of_its_own_for_each(checkout: Path, run: Run) -> None:
    assert run("--env-only").returncode == 0
    made = passwords(checkout)
    assert set(made) == {name for name in read_variables(EXAMPLE) if name.endswith("_PASSWORD")}
    assert all(re.fullmatch("[0-9a-f]{64}", value) for value in made.values())
    assert len(set(made.values())) == len(made)


def test_the_file_is_for_its_owner_alone(checkout: Path, run: Run) -> None:
    run("--env-only")
    assert (checkout / ".env").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in checkout.glob(".env*")) == [".env", ".env.example"]


def test_it_says_no_password(checkout: Path, run: Run) -> None:
    done = run("--env-only")
    assert not any(value in done.stdout + done.stderr for value in passwords(checkout).values())


def test_what_the_example_sets_stays_but_urls_that_compose_puts_together(checkout: Path, run: Run) -> None:
    run("--env-only")
    example, made = read_variables(EXAMPLE), read_variables(checkout / ".env")
    left_out = {"DATABASE_URL", "REDIS_URL", "RQ_REDIS_URL", "ELASTICSEARCH_URL"}
    assert set(example) - set(made) == left_out
    assert {name: value for name, value in made.items() if value == example[name]} == {
        name: value
        for name, value in example.items()
        if name not in left_out and not name.endswith("_PASSWORD")
    }


def test_a_second_run_changes_nothing(checkout: Path, run: Run) -> None:
    run("--env-only")
    before = (checkout / ".env").read_bytes()
    assert run("--env-only").returncode == 0
    assert (checkout / ".env").read_bytes() == before


def test_it_adds_the_passwords_that_an_older_file_lacks_and_keeps_all_else(checkout: Path, run: Run) -> None:
    kept = "# mine\nPORT=9999\nPOSTGRES_PASSWORD=old\nDATABASE_URL=postgresql://mine:secret@db/sspp"
    (checkout / ".env").write_text(kept)  # no newline at its end
    assert run("--env-only").returncode == 0
    text = (checkout / ".env").read_text()
    assert text.startswith(kept + "\n")
    assert passwords(checkout)["POSTGRES_PASSWORD"] == "old"
    assert all(passwords(checkout).values())
    assert "GRAFANA_PASSWORD" in passwords(checkout)


def test_without_anything_that_runs_containers_it_says_so_and_makes_nothing(checkout: Path, run: Run) -> None:
    done = run()
    assert done.returncode == 1
    assert "Install Docker" in done.stderr
    assert not (checkout / ".env").exists()


def test_a_compose_command_that_does_not_run_is_named(run: Run) -> None:
    done = run(SSPP_COMPOSE="no-such-command --flag")
    assert (done.returncode, done.stderr) == (1, "setup: SSPP_COMPOSE=no-such-command --flag does not run\n")


@pytest.mark.parametrize("arguments", [("--wrong",), ("--env-only", "api")])
def test_wrong_usage_is_2_and_shows_the_right_one(run: Run, arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ")


def test_help_is_for_who_asks(run: Run) -> None:
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--env-only" in done.stdout


def test_each_script_can_be_started_as_it_is() -> None:
    assert os.access(ROOT / SCRIPT, os.X_OK)


def test_the_script_for_windows_runs_and_recommends_the_same() -> None:
    shell, windows = (ROOT / SCRIPT).read_text(), (ROOT / SCRIPT).with_suffix(".ps1").read_text()
    recommended = re.findall(r"\$\{compose\[\*\]\} ([^\n\")]+)", shell)
    assert len(recommended) >= 8
    assert [
        words for words in recommended if f"$Compose {words.replace('$*', '$Service')}" not in windows
    ] == []
    assert set(re.findall(r"[A-Z]+_PORT \d+", shell)) == {
        f"{name} {port}" for name, port in re.findall(r"'([A-Z]+_PORT)' '(\d+)'", windows)
    }
