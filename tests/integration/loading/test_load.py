"""`sspp load`: what arrives of files of every form, once, and when it ends."""

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from events_api import KEY, Api
from load_command import ndjson, run, summary
from patience import PATIENCE_SECONDS

REPOSITORY = Path(__file__).resolve().parents[3]
CDNOW = REPOSITORY / "data/cdnow_purchases.csv.gz"


# Whoever is started in the background, or below nohup, inherits SIGINT as ignored, and so do the tests' children.
INTERRUPTIBLE_LOAD = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
import typer
from infrastructure.cli.load import load
typer.run(load)
"""


def test_the_sample_data_arrives_to_the_cent_and_only_once(api: Api) -> None:
    first = run(str(CDNOW), "--json", "--batch-size", "5000")
    assert first.exit_code == 0, first.output
    assert summary(first) | {"accepted": 69_659, "bad_rows": 0, "unconfirmed": 0} == summary(first)
    assert "cdnow_purchases.toml" in first.stderr

    assert len(api.events) == 69_659
    purchases = [event["data"] for event in api.events.values()]
    cents = [int(data["amount"].replace(".", "")) for data in purchases]
    best = [cents[row] for row, event in enumerate(api.events.values()) if event["customer_id"] == "07592"]
    assert len({event["customer_id"] for event in api.events.values()}) == 23_570
    assert sum(data["quantity"] for data in purchases) == 167_881
    assert sum(cents) == 250_031_563
    assert (len(best), sum(best)) == (201, 1_399_093)
    assert api.events["cdnow_purchases.csv:1"] == {
        "event_id": "cdnow_purchases.csv:1",
        "event_type": "purchase",
        "customer_id": "00001",
        "occurred_at": "1997-01-01T00:00:00Z",
        "data": {"quantity": 1, "amount": "11.77", "currency": "USD"},
    }

    assert run(str(CDNOW), "--quiet", "--batch-size", "5000").exit_code == 0
    assert len(api.events) == 69_659


@pytest.mark.parametrize(("form", "count"), [("array", 25), ("ndjson", 25)])
def test_json_events_keep_their_ids_and_get_one_where_they_have_none(
    api: Api, tmp_path: Path, form: str, count: int
) -> None:
    events = [{"event_type": "note", "customer_id": "c", "data": {"n": n}} for n in range(count)]
    events[3]["event_id"] = "mine/3"
    file = tmp_path / f"notes.{'json' if form == 'array' else 'ndjson'}"
    file.write_text(json.dumps(events, indent=1) if form == "array" else "\n".join(map(json.dumps, events)))
    assert run(str(file), "--source", "notes", "--batch-size", "10", "--wait").exit_code == 0
    assert sorted(api.sizes) == [5, 10, 10]
    assert set(api.events) == {"mine/3"} | {f"notes:{n}" for n in range(1, count + 1) if n != 4}


def test_standard_input_and_options_load_a_table(api: Api) -> None:
    arguments = (
        "- --source till --event-type purchase --map customer_id --map amount:decimal=total --delimiter ;"
    )
    result = run(*arguments.split(), stdin=gzip.compress(b"customer_id;total\n01;5.10\n02;x\n"))
    assert result.exit_code == 1
    assert "row 2: column total: 'x' is not a decimal number" in result.stdout
    assert [event["data"] for event in api.events.values()] == [{"amount": "5.10"}]


def test_waiting_ends_when_the_last_events_are_stored(api: Api, tmp_path: Path) -> None:
    api.hidden_polls = 2
    result = run(ndjson(tmp_path / "n.ndjson", 30), "--batch-size", "10", "--wait", "--json")
    assert (result.exit_code, summary(result)["stored"]) == (0, True)
    asked = {event_id for method, event_id, _count in api.requests if method == "GET"}
    assert asked == {"n.ndjson:10", "n.ndjson:20", "n.ndjson:30"}


def test_waiting_has_an_end(api: Api, tmp_path: Path) -> None:
    api.hidden_polls = 10_000
    result = run(ndjson(tmp_path / "n.ndjson", 3), "--wait", "--wait-for", "0.1", "--json")
    assert (result.exit_code, summary(result)["stored"]) == (1, False)


def test_a_dry_run_shows_events_and_needs_no_api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SSPP_API_URL", raising=False)
    monkeypatch.delenv("SSPP_API_KEY", raising=False)
    result = run(str(CDNOW), "--dry-run")
    assert result.exit_code == 0
    shown = [json.loads(line) for line in result.stdout.splitlines()]
    assert [event["event_id"] for event in shown] == [f"cdnow_purchases.csv:{row}" for row in range(1, 6)]


def test_ctrl_c_stops_neatly_and_running_again_completes(api: Api, tmp_path: Path) -> None:
    file = ndjson(tmp_path / "n.ndjson", 2000)
    api.open.clear()
    with subprocess.Popen(
        [
            sys.executable,
            *("-c", INTERRUPTIBLE_LOAD, file),
            *("--batch-size", "10", "--concurrency", "2"),
        ],
        cwd=REPOSITORY,
        env=os.environ | {"SSPP_API_URL": api.url, "SSPP_API_KEY": KEY},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 60
        while len(api.requests) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        threading.Timer(0.2, api.open.set).start()
        shown, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    assert "Run the same command again" in shown
    assert len(api.events) < 2000

    assert run(file, "--quiet").exit_code == 0
    assert len(api.events) == 2000
