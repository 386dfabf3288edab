"""`sspp load` while the API is busy, away, or refuses events or the whole load."""

from pathlib import Path

import pytest
from events_api import KEY, Api, problem
from load_command import ndjson, run, summary


@pytest.mark.parametrize("status", [429, 503, 502])
def test_a_busy_api_is_asked_again_when_it_says(api: Api, tmp_path: Path, status: int) -> None:
    api.answers = [problem(status, "busy", "Try later.", Retry_After="1")]
    result = run(ndjson(tmp_path / "n.ndjson", 5))
    assert result.exit_code == 0, result.output
    assert f"The API is busy ({status} Try later); next try in 1 s" in result.stderr
    assert (api.sizes, len(api.events)) == ([5, 5], 5)


def test_an_api_that_stays_away_is_given_up(tmp_path: Path, api: Api) -> None:
    free = Api()
    free.server_close()
    result = run(ndjson(tmp_path / "n.ndjson", 5), "--url", free.url, "--retry-for", "0.1", "--json")
    assert result.exit_code == 1
    assert "does not answer" in summary(result)["error"]
    assert (summary(result)["status"], summary(result)["unconfirmed"]) == ("stopped", 5)


def test_a_request_that_is_too_large_is_halved_until_it_fits(api: Api, tmp_path: Path) -> None:
    api.max_events = 7
    result = run(ndjson(tmp_path / "n.ndjson", 40), "--batch-size", "20", "--json")
    assert (result.exit_code, summary(result)["accepted"], len(api.events)) == (0, 40, 40)
    assert sum(size for size in api.sizes if size <= 7) == 40


def test_one_event_that_is_too_large_is_refused_alone(api: Api, tmp_path: Path) -> None:
    api.answers = [problem(413, "event_too_large", "Too large.")] * 2
    result = run(ndjson(tmp_path / "n.ndjson", 2), "--json")
    assert summary(result)["rejected_examples"] == [
        {"row": 1, "code": "event_too_large", "detail": "Too large"}
    ]
    assert (result.exit_code, list(api.events)) == (1, ["n.ndjson:2"])


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (401, "Check SSPP_API_KEY"),
        (403, "loading needs ingest"),
        (415, ""),
        (422, ""),
        (404, "Check SSPP_API_URL"),
        (400, ""),
    ],
)
def test_a_refused_request_stops_the_load_with_its_reason(
    api: Api, tmp_path: Path, status: int, hint: str
) -> None:
    api.answers = [problem(status, "some_code", "It is so.")] * 100
    result = run(ndjson(tmp_path / "n.ndjson", 1000), "--batch-size", "10")
    assert result.exit_code == 1
    assert f"Stopped: The API answered {status} (some_code): It is so." in result.stdout
    assert hint in result.stdout
    assert KEY not in result.output
    assert len(api.sizes) < 100


def test_rejected_events_are_told_by_their_row(api: Api, tmp_path: Path) -> None:
    api.refuse = lambda event: event["n"] % 10 == 7
    result = run(
        ndjson(tmp_path / "n.ndjson", 100), "--batch-size", "30", "--concurrency", "1", "--examples", "2"
    )
    assert result.exit_code == 1
    assert "invalid_envelope: 10\n" in result.stdout
    assert result.stdout.count("customer_id is odd") == 2
    assert "row 7: customer_id is odd" in result.stdout
    assert len(api.events) == 90


def test_a_request_of_bad_events_only_does_not_stop_the_load(api: Api, tmp_path: Path) -> None:
    api.refuse = lambda event: event["n"] <= 20
    result = run(ndjson(tmp_path / "n.ndjson", 30), "--batch-size", "10", "--json")
    assert summary(result)["rejected_by_code"] == {"invalid_envelope": 20}
    assert (summary(result)["error"], len(api.events)) == (None, 10)


def test_something_else_than_our_api_is_noticed(api: Api, tmp_path: Path) -> None:
    api.answers = [(202, {}, {"ok": True})]
    result = run(ndjson(tmp_path / "n.ndjson", 5))
    assert (result.exit_code, "not that of an SSPP API" in result.stdout) == (1, True)
