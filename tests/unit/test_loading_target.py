from pathlib import Path

import pytest

from common.errors import SettingsError
from infrastructure.loading.target import Target, find_target

WRITTEN = "# local\nexport SSPP_API_URL='http://127.0.0.1:1/'\nSSPP_API_KEY=\"written key\"\nDATABASE_URL=x\n"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_env(path: str) -> Path:
    file = Path(path)
    file.parent.mkdir(exist_ok=True)
    file.write_text(WRITTEN, encoding="utf-8")
    return file


def test_the_environment_goes_before_the_file_and_the_option_before_both() -> None:
    write_env(".sspp/env")
    environ = {"SSPP_API_URL": "http://env", "SSPP_API_KEY": "k"}
    assert find_target({}) == Target("http://127.0.0.1:1", "written key")
    assert find_target(environ) == Target("http://env", "k")
    assert find_target(environ, url="https://option/") == Target("https://option", "k")


def test_another_file_may_be_named() -> None:
    assert find_target({}, env_file=write_env("other/env")).key == "written key"
    with pytest.raises(SettingsError, match="Cannot read"):
        find_target({}, env_file=Path("none"))


def test_what_is_missing_is_named() -> None:
    with pytest.raises(SettingsError, match="SSPP_API_URL and SSPP_API_KEY are not set"):
        find_target({})
    with pytest.raises(SettingsError, match=r"^SSPP_API_KEY is not set"):
        find_target({}, url="http://x")


def test_an_address_must_be_one() -> None:
    with pytest.raises(SettingsError, match="not an http"):
        find_target({"SSPP_API_KEY": "k"}, url="localhost:8000")


def test_the_key_is_not_printed() -> None:
    assert "secret" not in repr(Target("http://x", "secret"))
