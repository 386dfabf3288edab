"""Withheld refusals as operators and tenants see them, and their release: API and command line."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result
from withholding import EIGHT, SEVEN, bad, new_guard

from infrastructure.cli.rejected import rejected

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def pipeline(pipeline: Any) -> Any:
    """With 20 withheld events of tenant seven and 30 of eight."""
    new_guard(pipeline)
    for tenant, count in ((SEVEN, 20), (EIGHT, 30)):
        pipeline.push(*bad(count), tenant=tenant)
    pipeline.drain()
    return pipeline


def rejections(pipeline: Any) -> dict[int, int]:
    rows = pipeline.rows("SELECT tenant_id, count(*) AS events FROM rejected_events GROUP BY 1")
    return {row["tenant_id"]: row["events"] for row in rows}


def sspp(*arguments: str) -> Result:
    return CliRunner().invoke(rejected, arguments, catch_exceptions=False)


def test_the_api_shows_a_tenant_its_own_and_releases_them(pipeline: Any, seven: httpx.Client) -> None:
    assert seven.get("/v1/rejected/withheld").json() == {
        "events": 20,
        "oldest_received_at": "2026-11-21T12:00:00Z",
        "reasons": [{"code": "unknown_event_type", "event_type": "visit", "events": 20}],
        "released_until": None,
    }

    before = datetime.now(UTC)
    released = seven.post("/v1/rejected/release", json={"minutes": 5}).json()

    assert released["events"] == 20
    until = datetime.fromisoformat(released["released_until"])
    assert timedelta(minutes=4) < until - before < timedelta(minutes=6)
    pipeline.drain()
    assert rejections(pipeline) == {SEVEN: 20}
    after = seven.get("/v1/rejected/withheld").json()
    assert (after["events"], after["oldest_received_at"], after["reasons"]) == (0, None, [])
    shown = datetime.fromisoformat(after["released_until"])
    assert abs(shown - until) < timedelta(seconds=30)


def test_a_release_by_the_api_lasts_an_hour_unless_it_says_otherwise(seven: httpx.Client) -> None:
    before = datetime.now(UTC)
    until = datetime.fromisoformat(seven.post("/v1/rejected/release").json()["released_until"])

    assert timedelta(minutes=59) < until - before < timedelta(minutes=61)


@pytest.mark.parametrize("body", [{"minutes": 0}, {"minutes": 1441}, {"minutes": "x"}, {"hours": 1}])
def test_a_release_that_makes_no_sense_is_refused(seven: httpx.Client, body: dict[str, Any]) -> None:
    assert seven.post("/v1/rejected/release", json=body).status_code == 422
    assert seven.get("/v1/rejected/withheld").json()["released_until"] is None


def test_the_command_shows_all_tenants(pipeline: Any) -> None:
    shown = json.loads(sspp("withheld", "--json").stdout)

    assert [(each["tenant"], each["events"], each["reasons"]) for each in shown] == [
        ("seven", 20, ["unknown_event_type visit"]),
        ("eight", 30, ["unknown_event_type visit"]),
    ]
    assert shown[0]["oldest_received_at"] == "2026-11-21T12:00:00Z"
    assert "eight" in sspp("withheld").stdout


def test_the_command_releases_one_tenant(pipeline: Any) -> None:
    done = sspp("release", "--tenant", "eight", "--minutes", "5")

    assert done.stdout == "30 withheld events released, for 5 minutes.\n"
    pipeline.drain()
    assert rejections(pipeline) == {EIGHT: 30}


def test_the_command_releases_all(pipeline: Any) -> None:
    assert sspp("release", "--all").stdout == "50 withheld events released, for 60 minutes.\n"

    pipeline.drain()
    assert rejections(pipeline) == {SEVEN: 20, EIGHT: 30}
    assert sspp("withheld").stdout == "(none)\n"


@pytest.mark.parametrize("arguments", [(), ("--all", "--tenant", "seven"), ("--all", "--minutes", "0")])
def test_a_release_must_say_whose_and_for_how_long(pipeline: Any, arguments: tuple[str, ...]) -> None:
    assert sspp("release", *arguments).exit_code == 2
    assert sum(each["events"] for each in json.loads(sspp("withheld", "--json").stdout)) == 50


def test_an_unknown_tenant_is_told(pipeline: Any) -> None:
    done = sspp("release", "--tenant", "nobody")

    assert done.exit_code == 1
    assert "there is no tenant 'nobody'" in done.stderr
