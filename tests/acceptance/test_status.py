"""`sspp status`, of a platform that runs and of one with a store that is down."""

import json
import signal
import subprocess
from collections.abc import Callable
from typing import Any

from black_box import Platform, Tenant
from patience import PATIENCE_SECONDS


def test_one_look_tells_stores_workers_lag_and_partitions(
    platform: Platform, tenant: Tenant, until: Callable[..., Any]
) -> None:
    looks: list[dict[str, Any]] = []

    def all_stores_answer() -> bool:  # a busy one is given up after some seconds
        done = platform.sspp("status", "--json")
        status = json.loads(done.stdout)
        assert done.returncode == (1 if status["problems"] else 0), done.stderr
        assert status["healthy"] is not bool(status["problems"])
        looks.append(status)
        return all(store["up"] for store in status["sections"]["stores"].values())

    until(all_stores_answer)
    status = looks[-1]
    assert not [problem for problem in status["problems"] if "cannot be asked" in problem]
    assert status["sections"]["waiting"]["refused_events"] is not None
    stores = status["sections"]["stores"]
    assert set(stores) == {"postgresql", "redis", "elasticsearch"}
    assert all(
        store["version"] and store["latency_ms"] >= 0 and store["bytes"] >= 0 for store in stores.values()
    )
    assert (stores["redis"]["aof"], stores["redis"]["appendfsync"]) == (True, "always")
    assert {"ingest", "index", "maintenance"} <= {
        queue for worker in status["sections"]["workers"] for queue in worker["queues"]
    }
    assert status["sections"]["partitions"]["events"]["months_ahead"] >= 1
    assert status["sections"]["tenants"]["active"] >= 1
    assert set(status["sections"]["lag"]) == {"stored_seconds", "searchable_seconds"}
    assert len(status["sections"]["lanes"]) == 16


def test_a_store_that_is_down_is_shown_beside_what_is_up(platform: Platform, unserved_port: int) -> None:
    nowhere = f"http://127.0.0.1:{unserved_port}"

    done = platform.sspp("status", ELASTICSEARCH_URL=nowhere)

    assert done.returncode == 1
    assert "Elasticsearch" in done.stdout
    assert "DOWN" in done.stdout
    assert "AOF always" in done.stdout
    assert "months ahead" in done.stdout
    assert "\x1b" not in done.stdout


def test_all_stores_may_be_down(platform: Platform, unserved_port: int) -> None:
    done = platform.sspp(
        "status",
        "--json",
        DATABASE_URL=f"postgresql://nobody:hush@127.0.0.1:{unserved_port}/x",
        REDIS_URL=f"redis://:hush@127.0.0.1:{unserved_port}/0",
        ELASTICSEARCH_URL=f"http://nobody:hush@127.0.0.1:{unserved_port}",
    )

    status = json.loads(done.stdout)
    assert done.returncode == 1
    assert {name: store["up"] for name, store in status["sections"]["stores"].items()} == dict.fromkeys(
        ("postgresql", "redis", "elasticsearch"), False
    )
    assert len(status["problems"]) == 3
    assert "hush" not in done.stdout + done.stderr


def test_a_narrow_terminal_gets_narrow_lines(platform: Platform) -> None:
    done = platform.sspp("status", COLUMNS="50")

    assert max(map(len, done.stdout.splitlines())) <= 50
    assert "tosearchable" in "".join(done.stdout.split())


def test_a_watch_goes_on_until_it_is_interrupted(platform: Platform) -> None:
    watching = subprocess.Popen(
        [platform.program("sspp"), "status", "--json", "--watch", "0.5"],
        env=platform.process_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    looks = [json.loads(watching.stdout.readline()) for _ in range(2)]
    watching.send_signal(signal.SIGINT)
    rest = watching.communicate(timeout=PATIENCE_SECONDS)[0]

    looks += map(json.loads, rest.splitlines())
    assert looks[0]["at"] < looks[1]["at"]
    assert watching.returncode == (0 if looks[-1]["healthy"] else 1)


def test_backups_are_told_where_there_are_any(platform: Platform, tmp_path: object) -> None:
    done = platform.sspp("status", "--json", SSPP_BACKUP_URL=f"{tmp_path}/none")
    assert "is no folder" in json.loads(done.stdout)["problems"][-1]

    assert platform.sspp("backup", "--quiet", SSPP_BACKUP_URL=str(tmp_path)).returncode == 0
    status = json.loads(platform.sspp("status", "--json", SSPP_BACKUP_URL=str(tmp_path)).stdout)
    assert status["sections"]["backups"]["last_backup"].endswith("Z")
    assert status["sections"]["backups"]["last_drill"] is None
    assert "there was no restore drill yet" in status["problems"]
