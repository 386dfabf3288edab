"""Folders for backups and archives: who reads finds them, and only who keeps something makes them."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from infrastructure.cli.main import app
from infrastructure.safekeeping.errors import NoStoreError
from infrastructure.safekeeping.settings import load_backup_settings
from infrastructure.safekeeping.stores import open_store


@pytest.mark.parametrize(
    "command",
    [
        "archives list --archive",
        "archives check --archive",
        "backup --list --store",
        "restore --check --store",
    ],
)
def test_a_command_that_reads_says_that_the_folder_is_not_there_and_makes_none(
    command: str, tmp_path: Path
) -> None:
    done = CliRunner().invoke(app, [*command.split(), str(tmp_path / "mistyped")])

    assert done.exit_code == 3
    assert "there is no folder" in done.stderr
    assert not (tmp_path / "mistyped").exists()


def test_who_keeps_something_makes_the_folder_for_its_owner_alone(tmp_path: Path) -> None:
    settings = load_backup_settings().model_copy(update={"url": str(tmp_path / "new" / "store")})
    with pytest.raises(NoStoreError):
        open_store(settings)
    assert open_store(settings, create=True).names() == []
    assert (tmp_path / "new" / "store").stat().st_mode & 0o777 == 0o700
    assert open_store(settings).names() == []
