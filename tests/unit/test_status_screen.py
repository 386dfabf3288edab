"""What `sspp status` makes of answers, whole or not, and how it looks where there is little room."""

import io
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from patience import PATIENCE_SECONDS
from rich.console import Console

from common.errors import DatabaseUnavailableError
from infrastructure.status.screen import render
from infrastructure.status.status import Answers, Status, ask_all

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
STORE = {"up": True, "version": "18.1", "latency_ms": 0.4, "bytes": 3 * 2**30}
SECTIONS: dict[str, Any] = {
    "stores": {
        "postgresql": {**STORE, "connections": 7, "connections_limit": 100},
        "redis": {
            **STORE,
            "bytes_limit": 2**32,
            "aof": True,
            "appendfsync": "always",
            "maxmemory_policy": "noeviction",
        },
        "elasticsearch": {**STORE, "health": "green", "documents": 10_000_000, "indices": 3},
    },
    "lag": {"stored_seconds": 0.2, "searchable_seconds": 600.0},
    "lanes": {
        "sspp:ingest:0": {"waiting_events": 12_000, "oldest_seconds": 3.5, "claimed_entries": 2},
        "sspp:ingest:1": {"waiting_events": 0, "oldest_seconds": 0.0, "claimed_entries": 0},
    },
    "queues": {"ingest": {"workers": 1, "jobs": 2, "failed_jobs": 3}},
    "workers": [
        {
            "name": "0123456789abcdef",
            "queues": ["ingest"],
            "state": "busy",
            "doing": "drain ingest",
            "doing_since": NOW - timedelta(seconds=4),
            "since": NOW - timedelta(days=2),
        }
    ],
    "waiting": {"outbox_signals": 5, "refused_events": 10_001, "refused_documents": None},
    "partitions": {"events": {"months_ahead": 3, "partitions": 9, "bytes": 2**20, "default_rows": 0}},
    "tenants": {"active": 4, "deleted": 1},
    "backups": {"last_backup": NOW - timedelta(hours=3), "last_drill": None},
}


def screen(status: Status, width: int = 120) -> str:
    output = io.StringIO()
    Console(file=output, width=width).print(render(status))
    return output.getvalue()


def test_everything_is_on_one_screen() -> None:
    shown = screen(Status(NOW, 0.3, ["something"], SECTIONS))

    assert len(shown.splitlines()) <= 24
    for words in (
        "1 to see to",
        "! something",
        "0.4 ms",
        "3.0 GiB of 4.0 GiB",
        "AOF always, noeviction",
        "7 of 100 connections",
        "green, 10,000,000 documents",
        "to stored 0.2 s, to searchable 0:10:00",
        "12,000",
        "ingest: 1 workers, 2 jobs, 3 failed",
        "drain ingest",
        "2 days, 0:00:00 ago",
        "more than 10,000 refused events",
        "? refused documents",
        "events 3 months ahead",
        "4 active, 1 deleted",
        "last 3:00:00 ago, last drill never",
    ):
        assert words in shown
    assert "sspp:ingest:1" not in shown


@pytest.mark.parametrize("width", [30, 50, 80])
def test_narrow_terminals_get_narrow_lines_and_all_words(width: int) -> None:
    shown = screen(Status(NOW, 0.3, ["a long problem that has to be told in full" * 3], SECTIONS), width)

    assert max(map(len, shown.splitlines())) <= width
    assert "tosearchable0:10:00" in "".join(shown.split())


@pytest.mark.parametrize("width", [30, 40, 50, 60, 70, 80, 100, 120])
def test_names_and_versions_are_not_broken_whatever_the_width(width: int) -> None:
    stores = {
        **SECTIONS["stores"],
        "elasticsearch": {**SECTIONS["stores"]["elasticsearch"], "version": "9.1.2-b7"},
    }
    shown = screen(Status(NOW, 0.3, [], {**SECTIONS, "stores": stores}), width).split()

    for word in (
        *("elasticsearch", "postgresql", "redis", "9.1.2-b7", "10,000,000", "connections", "documents"),
        *("sspp:ingest:0", "12,000", "0123456789ab", "drain", "0:00:00", "noeviction"),
    ):
        assert word in {seen.strip(",:") for seen in shown}


def test_a_part_that_fails_or_hangs_is_a_problem_and_hides_no_other() -> None:
    never = threading.Event()

    def hang(answers: Answers) -> None:
        answers.sections["stores"] = {"redis": {"up": False}}
        never.wait(PATIENCE_SECONDS)

    def fail(answers: Answers) -> None:
        answers.sections["stores"] = {"postgresql": {"up": False}}
        raise DatabaseUnavailableError

    def stumble(_: Answers) -> None:
        raise ValueError("odd\nand more")

    def answer(answers: Answers) -> None:
        answers.sections["stores"] = {"elasticsearch": STORE}

    parts = {"Redis": hang, "PostgreSQL": fail, "Backups": stumble, "Elasticsearch": answer}
    status = ask_all(parts, patience_seconds=0.2, clock=lambda: NOW)
    never.set()

    assert not status.healthy
    assert status.problems == [
        "Redis gives no answer within 0.2 seconds",
        "PostgreSQL cannot be reached or is busy; try again shortly.",
        "Backups cannot be asked: odd",
    ]
    assert {name: store["up"] for name, store in status.sections["stores"].items()} == {
        "redis": False,
        "postgresql": False,
        "elasticsearch": True,
    }
    assert screen(status).count("DOWN") == 2


def test_all_is_well_if_nobody_says_otherwise() -> None:
    status = ask_all({}, clock=lambda: NOW)

    assert status.healthy
    assert "all is well" in screen(status)


def test_where_backups_are_kept_elsewhere_nothing_is_said_about_them_as_if_there_were_none() -> None:
    shown = screen(Status(NOW, 0.3, [], {**SECTIONS, "backups": None}))

    assert "not known here, as SSPP_BACKUP_URL is not set" in shown
