"""The image and the services of docker-compose.yml, built and run for real by infrastructure/scripts/setup.sh.

Needs a compose command that builds and knows health checks: `docker compose`, or podman 4.6 and podman-compose, or what
SSPP_TEST_COMPOSE names. Grafana, the Pushgateway and PgAdmin are left out: nothing of ours runs in them.
"""

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import yaml
from checkout import ROOT, read_variables
from running import PROCESSES, Containers

_MINUTES = 60

Until = Callable[..., Any]

pytestmark = pytest.mark.timeout(15 * _MINUTES)


def test_events_flow_until_they_are_found(
    containers: Containers, send: Callable[[int], str], found: Callable[[str], int], until: Until
) -> None:
    assert containers.api.get("/readyz").json()["status"] == "ready"
    mark = send(20)
    until(lambda: found(mark) == 20, timeout=60)


@pytest.mark.parametrize("service", PROCESSES)
def test_a_process_is_nobody_healthy_and_can_write_nowhere_but_to_tmp(
    containers: Containers, service: str
) -> None:
    places = "/ /opt/sspp /opt/sspp/bin /usr/local/bin /etc /backups /volumes"
    told = containers.shell(
        service,
        "id -u; grep CapEff /proc/1/status; "
        f"for place in {places}; do touch $place/x 2>/dev/null && echo $place; done; "
        "touch /tmp/x && echo written; python -m infrastructure.compose.healthcheck && echo healthy",
    )
    assert told.split() == ["10001", "CapEff:", "0000000000000000", "written", "healthy"]


def test_nothing_that_compiles_or_installs_python_is_in_the_image(containers: Containers) -> None:
    tools = "for tool in gcc cc ld strip make pip pip3 git curl; do command -v $tool; done"
    assert containers.shell("api", f"{tools}; python -m pip --version 2>/dev/null; true") == ""


def test_the_image_says_what_it_is_made_of_and_whether_it_is_well(containers: Containers) -> None:
    image = containers.image()
    assert image["Labels"]["org.opencontainers.image.version"] == "1.2.3"
    assert image["Labels"]["org.opencontainers.image.revision"] == containers.environment["SSPP_REVISION"]
    assert image["User"] == "10001:10001"
    assert image["Healthcheck"]["Test"][-1] == "infrastructure.compose.healthcheck"


def test_postgresql_runs_with_its_configuration(containers: Containers) -> None:
    names = ("synchronous_commit", "max_wal_size", "data_checksums", "shared_preload_libraries")
    asked = f"SELECT name, setting FROM pg_settings WHERE name IN {names}"
    told = dict(line.split("|") for line in containers.ask_database(asked).splitlines())
    assert told == {
        "synchronous_commit": "on",
        "max_wal_size": "4096",
        "data_checksums": "on",
        "shared_preload_libraries": "pg_stat_statements",
    }


def test_each_process_connects_as_its_role(containers: Containers) -> None:
    seen = containers.ask_database(
        "SELECT DISTINCT usename FROM pg_stat_activity WHERE application_name LIKE 'sspp%'"
    ).split()
    assert "sspp_worker" in seen
    assert set(seen) <= {"sspp_api", "sspp_worker", "sspp_migrator"}


def test_no_process_list_shows_a_password(containers: Containers) -> None:
    variables = read_variables(containers.checkout / ".env")
    made = [value for name, value in variables.items() if name.endswith("_PASSWORD")]
    listing = "for file in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$file; echo; done"
    for service in ("redis", "elasticsearch", "postgres", *PROCESSES):
        listed = containers.shell(service, listing)
        assert listed
        assert not any(password in listed for password in made), service


def test_prometheus_scrapes_every_process_by_our_rules(containers: Containers, until: Until) -> None:
    def ask(path: str, **parameters: str) -> Any:
        return containers.prometheus.get(f"/api/v1/{path}", params=parameters).json()["data"]

    def all_up() -> bool:
        targets = ask("targets", state="active")["activeTargets"]
        jobs = sorted(target["labels"]["job"] for target in targets)
        expected = ["prometheus", "sspp-api", *["sspp-worker"] * (len(PROCESSES) - 1)]
        return jobs == expected and all(target["health"] == "up" for target in targets)

    until(all_up, timeout=90)
    folder = ROOT / "infrastructure" / "monitoring" / "prometheus" / "rules"
    groups = [group for path in folder.glob("*.yml") for group in yaml.safe_load(path.read_text())["groups"]]
    written = sorted(rule.get("alert") or rule["record"] for group in groups for rule in group["rules"])
    assert sorted(rule["name"] for group in ask("rules")["groups"] for rule in group["rules"]) == written

    def evaluated() -> bool:
        rules = [rule for group in ask("rules")["groups"] for rule in group["rules"]]
        return all(rule["health"] == "ok" for rule in rules)

    until(evaluated, timeout=90)
    until(lambda: ask("query", query='sspp_disk_free_bytes{path="/volumes"} > 0')["result"], timeout=90)


def test_rq_dashboard_shows_the_queues_to_who_knows_the_password(
    containers: Containers, until: Until
) -> None:
    containers.compose("--profile", "tools", "build", "rq-dashboard")
    containers.compose("--profile", "tools", "up", "-d", "--no-build", "rq-dashboard")
    url = f"http://127.0.0.1:{containers.environment['RQ_DASHBOARD_PORT']}/0/data/queues.json"
    password = read_variables(containers.checkout / ".env")["RQ_DASHBOARD_PASSWORD"]

    def answer(*who: str) -> httpx.Response | None:
        try:
            return httpx.get(url, auth=who or None, trust_env=False)  # type: ignore[arg-type]
        except httpx.TransportError:
            return None

    until(lambda: (told := answer()) is not None and told.status_code == 401, timeout=60)
    told = answer("admin", password)
    assert told is not None
    assert {"ingest", "index", "maintenance"} <= {queue["name"] for queue in told.json()["queues"]}


def test_migrating_again_changes_nothing(containers: Containers) -> None:
    assert "The schema is up to date." in containers.compose("run", "--rm", "-T", "migrate")


def test_a_lost_database_comes_back_from_a_backup(
    containers: Containers, send: Callable[[int], str], found: Callable[[str], int], until: Until
) -> None:
    mark = send(50)
    until(lambda: containers.stored(mark) == 50, timeout=60)
    kept = re.search(r"Kept (sspp-\S+): [\d,]+ rows", containers.once("sspp", "backup"))
    assert kept
    assert kept[1] in containers.once("restore", "--drill", "--max-age-hours", "1")

    containers.compose("down")
    for volume in ("postgres", "elasticsearch"):
        containers.remove_volume(volume)
    containers.compose("up", "-d", "postgres", "redis", "elasticsearch")
    until(lambda: containers.answers("postgres"), timeout=60)
    assert kept[1] in containers.once("restore")
    containers.set_up()
    until(lambda: found(mark) == 50, timeout=60)
    assert containers.stored(mark) == 50


def test_setting_up_again_after_down_finds_everything_as_it_was(
    containers: Containers, send: Callable[[int], str], found: Callable[[str], int], until: Until
) -> None:
    mark = send(30)
    before = (containers.checkout / ".env").read_bytes()
    # What is not stored yet waits in Redis, and what is not indexed yet in PostgreSQL.
    containers.compose("down")
    containers.set_up()
    assert (containers.checkout / ".env").read_bytes() == before
    until(lambda: found(mark) == 30, timeout=60)
    assert containers.stored(mark) == 30
