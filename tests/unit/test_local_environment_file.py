import subprocess
from pathlib import Path

import pytest

from infrastructure.local.environment_file import write_environment

VALUES = {
    "DATABASE_URL": "postgresql://postgres:p-_w@127.0.0.1:5/sspp?a=b&c=d",
    "ODD": 'it\'s $HOME; `x` "quoted" # no comment',
    "EMPTY": "",
}


@pytest.mark.parametrize("name", VALUES)
def test_a_shell_reads_the_same_values(tmp_path: Path, name: str) -> None:
    write_environment(tmp_path / "env", VALUES)
    script = f'set -a; . "{tmp_path}/env"; printf %s "${name}"'
    assert (
        subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True).stdout
        == (VALUES[name])
    )


def test_only_the_owner_can_read_it_also_where_an_open_file_stood_before(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.touch(mode=0o666)
    write_environment(path, VALUES)
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
