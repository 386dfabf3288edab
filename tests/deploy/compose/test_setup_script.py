"""What infrastructure/scripts/setup.sh makes of .env, and how it is called."""

import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from checkout import EXAMPLE, ROOT, read_variables
from setup_script import SCRIPT, Run

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


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


def test_of_several_at_once_one_makes_the_file_and_the_others_keep_it(checkout: Path, run: Run) -> None:
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(run, "--env-only") for _ in range(4)]
    said = [done.result().stderr for done in runs]
    assert [done.result().returncode for done in runs] == [0] * 4
    assert sum(words.startswith("made .env") for words in said) == 1
    assert sorted(path.name for path in checkout.glob(".env*")) == [".env", ".env.example"]


def test_a_file_that_another_run_makes_meanwhile_is_kept(checkout: Path, run: Run, tmp_path: Path) -> None:
    # Between the look whether it is there and the attempt to make it.
    link = tmp_path / "bin" / "ln"
    link.unlink()
    link.write_text(f"#!/bin/sh\necho GRAFANA_PASSWORD=others >{checkout}/.env\n{shutil.which('ln')} $@\n")
    link.chmod(0o755)
    done = run("--env-only")
    assert (done.returncode, "another run" in done.stderr) == (0, True)
    assert (checkout / ".env").read_text() == "GRAFANA_PASSWORD=others\n"


def test_a_file_system_without_links_gets_the_file_too(checkout: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "bin" / "ln").unlink()
    assert run("--env-only").returncode == 0
    assert passwords(checkout)["GRAFANA_PASSWORD"]


def test_what_it_adds_to_keeps_its_mode_and_stays_a_link_to_its_place(
    checkout: Path, run: Run, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    kept.write_text("GRAFANA_PASSWORD=old\n")
    kept.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(kept, 65534, 65534)
    owner = kept.stat().st_uid
    (checkout / ".env").symlink_to(kept)
    assert run("--env-only").returncode == 0
    assert (checkout / ".env").is_symlink()
    assert (kept.stat().st_mode & 0o777, kept.stat().st_uid) == (0o640, owner)
    assert "POSTGRES_PASSWORD" in kept.read_text()


@pytest.mark.parametrize(("mode", "warned"), [(0o644, True), (0o640, True), (0o600, False)])
def test_it_warns_of_a_file_that_others_can_read(checkout: Path, run: Run, mode: int, warned: bool) -> None:
    run("--env-only")
    (checkout / ".env").chmod(mode)
    done = run("--env-only")
    assert done.returncode == 0
    assert ("chmod 600 .env" in done.stderr) is warned


@pytest.mark.parametrize("value", ["a@b/c", "with space", "'quoted'", "gr\u00fcn", "$other"])
def test_a_password_that_cannot_be_part_of_a_url_is_refused_before_anything_is_touched(
    checkout: Path, run: Run, value: str
) -> None:
    (checkout / ".env").write_text(f"SSPP_WORKER_DATABASE_PASSWORD={value}\nGRAFANA_PASSWORD=fine_-9\n")
    before = (checkout / ".env").read_bytes()
    done = run("--env-only")
    assert done.returncode == 1
    assert "SSPP_WORKER_DATABASE_PASSWORD" in done.stderr
    assert "GRAFANA_PASSWORD" not in done.stderr
    assert value not in done.stderr
    assert (checkout / ".env").read_bytes() == before


def test_a_password_of_the_environment_is_held_to_the_same(checkout: Path, run: Run) -> None:
    done = run("--env-only", POSTGRES_PASSWORD="a@b")
    assert (done.returncode, "POSTGRES_PASSWORD" in done.stderr) == (1, True)
    assert not (checkout / ".env").exists()


@pytest.mark.parametrize("line", ["POSTGRES_PASSWORD=", "PORT=8001"])
def test_line_ends_of_windows_are_refused_with_what_mends_them(checkout: Path, run: Run, line: str) -> None:
    (checkout / ".env").write_bytes(f"# mine\r\n{line}\r\n".encode())
    done = run("--env-only")
    assert done.returncode == 1
    assert f"{line.partition('=')[0]} in .env ends with a carriage return" in done.stderr
    assert "sed -i" in done.stderr


@pytest.mark.parametrize("kind", ["folder", "link to nothing"])
def test_what_is_no_file_is_refused_as_such(checkout: Path, run: Run, kind: str) -> None:
    if kind == "folder":
        (checkout / ".env").mkdir()
    else:
        (checkout / ".env").symlink_to("nothing")
    done = run("--env-only")
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        1,
        "setup: .env is no file: it is a folder, or a link to nothing.",
    )


@pytest.fixture
def full_disk(run: Run, tmp_path: Path) -> None:  # which makes the folder
    """No file may grow, not even root's, for the shell that the script runs in."""
    bash = tmp_path / "bin" / "bash"
    bash.unlink()
    bash.write_text(f"#!/bin/sh\ntrap '' XFSZ\nulimit -f 0\nexec {shutil.which('bash')} \"$@\"\n")
    bash.chmod(0o755)


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize("old", [None, "GRAFANA_PASSWORD=old\n"])
def test_what_cannot_be_written_is_said_and_leaves_all_as_it_was(
    checkout: Path, run: Run, old: str | None
) -> None:
    if old:
        (checkout / ".env").write_text(old)
    done = run("--env-only")
    assert done.returncode == 1
    assert f"setup: cannot write in {checkout}" in done.stderr
    assert ((checkout / ".env").read_text() if (checkout / ".env").exists() else None) == old
    assert not list(checkout.glob(".env.[0-9]*"))


def test_without_anything_that_runs_containers_it_says_so_and_makes_nothing(checkout: Path, run: Run) -> None:
    done = run()
    assert done.returncode == 1
    assert "Install Docker" in done.stderr
    assert not (checkout / ".env").exists()


def test_a_compose_command_that_does_not_run_is_named(run: Run) -> None:
    done = run(SSPP_COMPOSE="no-such-command --flag")
    assert (done.returncode, done.stderr) == (1, "setup: SSPP_COMPOSE=no-such-command --flag does not run\n")


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (("--wrong",), "there is no option --wrong"),
        (("api", "--wrong"), "there is no option --wrong"),
        (("--env-only", "api"), "--env-only starts nothing, so it takes no services: api"),
    ],
)
def test_wrong_usage_is_2_and_says_what_is_wrong_and_what_is_right(
    run: Run, arguments: tuple[str, ...], wrong: str
) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"setup: {wrong}\nusage: ")


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
