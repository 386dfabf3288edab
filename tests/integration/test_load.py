"""`sspp load` against a small server of our own that speaks the contract of the events API."""

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import typer
from typer.testing import CliRunner, Result

from infrastructure.cli.load import load

REPOSITORY = Path(__file__).resolve().parents[2]
CDNOW = REPOSITORY / "data/cdnow_purchases.csv.gz"
KEY = "key-for-tests"
# Whoever is started in the background, or below nohup, inherits SIGINT as ignored, and so do the tests' children.
INTERRUPTIBLE_LOAD = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
import typer
from infrastructure.cli.load import load
typer.run(load)
"""

Answer = tuple[int, dict[str, str], dict[str, Any]]


class Api(ThreadingHTTPServer):
    """Keeps what it accepts by id. `answers` are given first, one a request; None answers as usual."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.events: dict[str, dict[str, Any]] = {}
        self.answers: list[Answer | None] = []
        self.requests: list[tuple[str, str, int]] = []
        self.refuse: Callable[[dict[str, Any]], bool] = lambda _event: False
        self.max_events = 10_000
        self.hidden_polls = 0
        self.open = threading.Event()  # while clear, requests wait for their answer
        self.open.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def sizes(self) -> list[int]:
        return [count for method, _path, count in self.requests if method == "POST"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet an answer: without it Nagle's algorithm costs 40 ms each
    server: Api

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        lines = gzip.decompress(body).decode().split("\n")
        api = self.server
        with api.lock:
            api.requests.append(("POST", self.path, len(lines)))
            scripted = api.answers.pop(0) if api.answers else None
        assert self.headers["Content-Type"] == "application/x-ndjson"
        assert self.headers["Content-Encoding"] == "gzip"
        assert self.headers["Prefer"] == "return=minimal"
        api.open.wait(30)
        if self.headers["Authorization"] != f"Bearer {KEY}":
            self.answer(problem(401, "unauthorized", "The key is not known."))
        elif scripted:
            self.answer(scripted)
        elif len(lines) > api.max_events:
            self.answer(problem(413, "too_many_events", "Too many events."))
        else:
            receipt = self.take(lines)
            refused = problem(422, "all_events_refused", "None of the events can be accepted.")
            self.answer((202, {}, receipt) if receipt["accepted"] else (*refused[:2], refused[2] | receipt))

    def take(self, lines: list[str]) -> dict[str, Any]:
        rejected = []
        for index, line in enumerate(lines):
            event = json.loads(line)
            if self.server.refuse(event):
                rejected.append({"index": index, "code": "invalid_envelope", "detail": "customer_id is odd"})
                continue
            with self.server.lock:
                self.server.events.setdefault(event["event_id"], event)
        return {"accepted": len(lines) - len(rejected), "rejected": rejected}

    def do_GET(self) -> None:
        event_id = unquote(self.path.removeprefix("/v1/events/"))
        with self.server.lock:
            self.server.requests.append(("GET", event_id, 0))
            hidden = self.server.hidden_polls > 0
            self.server.hidden_polls -= 1
        found = not hidden and event_id in self.server.events
        self.answer(
            (200, {}, {"status": "stored"}) if found else problem(404, "not_found", "Not stored yet.")
        )

    def answer(self, answer: Answer) -> None:
        status, headers, content = answer
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        pass


def problem(status: int, code: str, detail: str, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    content = {"type": "about:blank", "title": code, "status": status, "detail": detail, "code": code}
    return status, {"Content-Type": "application/problem+json"} | named, content


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    server = Api()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    monkeypatch.setenv("SSPP_API_URL", server.url)
    monkeypatch.setenv("SSPP_API_KEY", KEY)
    yield server
    server.open.set()
    server.shutdown()
    server.server_close()
    thread.join()


def run(*arguments: str, stdin: bytes | None = None) -> Result:
    app = typer.Typer()
    app.command()(load)
    result = CliRunner().invoke(app, arguments, input=stdin)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def summary(result: Result) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(result.stdout)
    return loaded


def ndjson(path: Path, count: int, **fields: Any) -> str:
    lines = [
        json.dumps({"event_type": "note", "customer_id": str(n), "n": n} | fields)
        for n in range(1, count + 1)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


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
        shown, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Run the same command again" in shown
    assert len(api.events) < 2000

    assert run(file, "--quiet").exit_code == 0
    assert len(api.events) == 2000
