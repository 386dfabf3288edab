import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infrastructure.local.errors import FolderBusyError
from infrastructure.local.folder import DataFolder
from infrastructure.local.records import identity


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[DataFolder]:
    folder = DataFolder(tmp_path / "stack")
    folder.hold()
    yield folder
    folder.release()


def test_ports_passwords_and_what_was_remembered_survive_a_restart(folder: DataFolder) -> None:
    port, password = folder.port("valkey"), folder.password("valkey")
    folder.remember("keys", "SSPP_API_KEY", "secret")
    folder.release()
    again = DataFolder(folder.path)
    again.hold()
    assert (again.port("valkey"), again.password("valkey")) == (port, password)
    assert again.recall("keys", "SSPP_API_KEY") == "secret"
    again.release()


def test_each_name_has_a_password_of_its_own_that_only_the_owner_can_read(folder: DataFolder) -> None:
    assert folder.password("valkey") != folder.password("postgres")
    assert (folder.path / "state.json").stat().st_mode & 0o777 == 0o600


def test_a_second_stack_on_the_same_folder_is_refused(folder: DataFolder) -> None:
    with pytest.raises(FolderBusyError, match="another sspp up"):
        DataFolder(folder.path).hold(patience_seconds=0)


def test_a_released_folder_can_be_held_again(folder: DataFolder) -> None:
    folder.release()
    again = DataFolder(folder.path)
    assert again.hold() == []
    again.release()


def test_a_process_is_itself_only_while_it_lives() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    mark = identity(process.pid)
    assert mark is not None
    assert mark == identity(process.pid)
    process.kill()
    process.communicate()
    assert identity(process.pid) is None
