"""`sspp rejected` against an API of our own making."""

import json
from collections.abc import Callable
from typing import Any, Self

import pytest
from typer.testing import CliRunner, Result

from infrastructure.cli import rejected as module

IDS = [f"00000000-0000-8000-8000-{number:012d}" for number in range(3)]


def refusal(number: int, code: str = "unknown_event_type") -> dict[str, Any]:
    return {
        "rejection_id": IDS[number],
        "rejected_at": f"2026-11-21T10:00:0{number}.5Z",
        "code": code,
        "event_type": "store_visited",
        "event_id": f"e{number}",
        "detail": "there is no such type",
        "event": {"event_id": f"e{number}"},
    }


class FakeApi:
    """Answers from lists, and keeps what it was asked."""

    def __init__(self) -> None:
        self.open = [refusal(2, "schema_violation"), refusal(1), refusal(0)]
        self.answers: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.replays: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        if method == "POST":
            assert path == "/v1/rejected/replay"
            self.replays.append(request["json"])
            return self.answers.pop(0)
        if path != "/v1/rejected":
            return next(each for each in self.open if path == f"/v1/rejected/{each['rejection_id']}")
        parameters = request["params"]
        self.asked.append(dict(parameters))
        start, size = int(parameters.get("cursor", 0)), min(2, parameters["limit"])
        left = start + size < len(self.open)
        return {"items": self.open[start : start + size], "next_cursor": str(start + size) if left else None}


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    fake = FakeApi()
    monkeypatch.setenv("SSPP_API_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("SSPP_ADMIN_KEY", "a key")
    monkeypatch.setattr(module, "ApiClient", lambda *_args, **_options: fake)
    return fake


@pytest.fixture
def run() -> Callable[..., Result]:
    return lambda *arguments: CliRunner().invoke(module.rejected, arguments)


def test_the_list_goes_through_all_pages_up_to_its_limit(api: FakeApi, run: Callable[..., Result]) -> None:
    assert [each["event_id"] for each in json.loads(run("list", "--json").stdout)] == ["e2", "e1", "e0"]
    assert len(json.loads(run("list", "--json", "--limit", "1").stdout)) == 1
    assert "there is no such type" in run("list").stdout


def test_the_filters_reach_the_api_by_its_own_names(api: FakeApi, run: Callable[..., Result]) -> None:
    run("list", "--code", "c", "--type", "t", "--since", "2026-01-01", "--until", "2026-02-01", "--replayed")

    assert api.asked[0] == {
        "code": "c",
        "event_type": "t",
        "since": "2026-01-01",
        "until": "2026-02-01",
        "status": "replayed",
        "limit": 50,
    }


def test_one_refusal_is_shown_with_its_event(api: FakeApi, run: Callable[..., Result]) -> None:
    assert json.loads(run("show", IDS[1]).stdout) == refusal(1)


def test_a_replay_goes_on_until_nothing_is_left(api: FakeApi, run: Callable[..., Result]) -> None:
    api.answers = [{"replayed": 1000, "more": True}, {"replayed": 7, "more": False}]

    done = run("replay", "--code", "unknown_event_type")

    assert done.exit_code == 0
    assert done.stdout.startswith("1,007 refused events sent through again.")
    assert "1,000 sent through again so far" in done.stderr
    assert len(api.replays) == 2


def test_a_replay_ends_at_the_newest_refusal_of_its_beginning(
    api: FakeApi, run: Callable[..., Result]
) -> None:
    api.answers = [{"replayed": 3, "more": False}]

    run("replay", "--type", "store_visited", "--until", "2030-01-01")

    assert api.replays == [{"event_type": "store_visited", "until": "2026-11-21T10:00:02.500001Z"}]


def test_what_another_replay_holds_is_left_to_it(api: FakeApi, run: Callable[..., Result]) -> None:
    api.answers = [{"replayed": 0, "more": True}]

    done = run("replay", "--all", "--json")

    assert json.loads(done.stdout) == {"replayed": 0, "left_to_another_replay": True}


def test_ids_are_sent_as_they_were_given(api: FakeApi, run: Callable[..., Result]) -> None:
    api.answers = [{"replayed": 2, "more": False}]

    run("replay", "--id", IDS[0], "--id", IDS[1])

    assert api.replays[0]["ids"] == IDS[:2]


def test_where_nothing_is_open_nothing_is_sent(api: FakeApi, run: Callable[..., Result]) -> None:
    api.open = []

    assert run("replay", "--all").stdout == "0 refused events sent through again.\n"
    assert api.replays == []


def test_a_dry_run_counts_and_sends_nothing(api: FakeApi, run: Callable[..., Result]) -> None:
    counted = json.loads(run("replay", "--all", "--dry-run", "--json").stdout)
    chosen = json.loads(run("replay", "--id", IDS[2], "--dry-run", "--json").stdout)

    assert [(each["code"], each["events"]) for each in counted] == [
        ("schema_violation", 1),
        ("unknown_event_type", 2),
    ]
    assert [(each["code"], each["events"]) for each in chosen] == [("schema_violation", 1)]
    assert api.replays == []


@pytest.mark.parametrize("arguments", [(), ("--all", "--code", "c"), ("--all", "--id", IDS[0])])
def test_a_replay_must_say_which_refusals(
    api: FakeApi, run: Callable[..., Result], arguments: tuple[str, ...]
) -> None:
    assert run("replay", *arguments).exit_code == 2
    assert api.replays == []
