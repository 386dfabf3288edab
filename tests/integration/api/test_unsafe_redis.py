"""Nothing is acknowledged with a Redis whose settings could lose events."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE_SECONDS
from redis import Redis
from redis_settings import configured
from sending import events, problem, send

from common.errors import SettingsError
from common.queue.durability import check_durability

UNSAFE = pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"maxmemory_policy": "allkeys-lru"}, "maxmemory-policy noeviction"),
        ({"appendonly": "no"}, "appendonly yes"),
    ],
    ids=["evicting", "without AOF"],
)


@UNSAFE
def test_a_redis_that_could_lose_events_is_refused_in_production(
    client: Redis, settings: dict[str, str], words: str
) -> None:
    with configured(client, **settings):
        with pytest.raises(SettingsError, match=words):
            check_durability(client, "production")
        check_durability(client, "development")


@UNSAFE
def test_with_a_redis_that_could_lose_events_a_running_api_is_unready_and_acknowledges_nothing(
    client: Redis, serve: Any, until: Any, settings: dict[str, str], words: str
) -> None:
    with serve(SSPP_ENVIRONMENT="production") as api, configured(client, **settings):
        ready = api.get("/readyz")
        assert ready.status_code == 503
        assert words in ready.json()["dependencies"]["redis"]["detail"]
        until(lambda: send(api, events(1)).status_code == 503)
        assert problem(send(api, events(1))) == (503, "queue_unsafe")
    with serve(SSPP_ENVIRONMENT="development") as api, configured(client, **settings):
        assert api.get("/readyz").status_code == 200
        assert send(api, events(1)).status_code == 202


def test_neither_api_nor_workers_start_with_a_redis_that_could_lose_events(
    client: Redis, environment: dict[str, str]
) -> None:
    rq = str(Path(sys.executable).with_name("rq"))
    variables = {"PATH": os.environ["PATH"], "PORT": "0"} | environment | {"SSPP_ENVIRONMENT": "production"}
    with configured(client, maxmemory_policy="allkeys-lru"):
        for who, command in {
            "API": (sys.executable, "-m", "api"),
            "worker": (rq, "worker", "ingest"),
        }.items():
            ended = subprocess.run(
                command, env=variables, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
            )
            assert ended.returncode == 1
            assert f"The {who} cannot start: Redis would evict" in ended.stderr
            assert "set maxmemory-policy noeviction" in ended.stderr


def test_a_redis_that_flushes_now_and_then_is_warned_of(
    client: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    with configured(client, appendonly="yes", appendfsync="everysec"):
        check_durability(client, "production")

    assert "set appendfsync always" in capsys.readouterr().out
