"""A wrong `sspp load` is told and sends nothing."""

from pathlib import Path

import pytest
from events_api import Api
from load_command import run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.csv"], "Cannot read none.csv"),
        (["table.csv", "--mapping", "none.toml"], "Cannot read the mapping"),
        (["table.csv", "--map", "a", "--delimiter", "ab"], "single character"),
        (["table.csv", "--map", "a", "--encoding", "klingon"], "no encoding 'klingon'"),
        (["table.csv", "--source", "x" * 151], "shorter --source"),
        (["events.json", "--map", "a"], "need no mapping"),
        (["events.json", "--env-file", "none"], "Cannot read none"),
    ],
)
def test_a_wrong_command_is_told_and_sends_nothing(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.csv").write_text("a\n1\n")
    (tmp_path / "events.json").write_text("[{}]")
    result = run(*arguments)
    assert (result.exit_code, api.requests) == (2, [])
    assert message in result.stderr


def test_a_mapping_that_does_not_fit_the_file_sends_nothing(api: Api, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    for arguments, message in ((["--map", "customer_id=who"], "no column 'who'"), ([], "needs a mapping")):
        result = run(str(tmp_path / "table.csv"), "--event-type", "note", *arguments)
        assert (result.exit_code, api.requests, result.stdout) == (2, [], "")
        assert message in result.stderr
        assert "again" not in result.stderr


def test_standard_input_without_a_name_sends_nothing(api: Api) -> None:
    result = run("-", stdin=b'{"event_type": "note", "customer_id": "c"}')
    assert (result.exit_code, api.requests) == (2, [])
    assert "give --source NAME" in result.stderr
