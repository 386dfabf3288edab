"""What containers run, run: each with its own arguments and environment, on servers of the test's own.

PostgreSQL's roles are made by the script that the development's own server runs when it is first started.
"""

import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from k8s_manifests import overlay
from k8s_processes import Runner, new_key

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(params=["dev", "prod"])
def runner(
    request: pytest.FixtureRequest, migrated: dict[str, str], outside: dict[str, str], tmp_path: Path
) -> Runner:
    """Of the overlays that differ most; only the one that has no bucket of its own gets one."""
    own = {} if request.param == "dev" else outside
    return Runner(overlay(request.param), tmp_path, migrated | own)


def test_every_init_container_ends_well(runner: Runner) -> None:
    for workload in runner.rendering.workloads("Deployment"):
        for container in workload.spec["initContainers"]:
            ended = runner.complete(container)
            assert ended.returncode == 0, f"{workload.name}: {container['name']}: {ended.stderr}"


def test_every_cron_job_ends_well(runner: Runner) -> None:
    by_name = {each.document["metadata"]["name"]: each for each in runner.rendering.workloads("CronJob")}
    order = ["sspp-partitions", "sspp-backup", "sspp-revocations", "sspp-restore-drill"]
    assert sorted(by_name) == sorted(order)
    failed = {}
    for name in order:
        [container] = by_name[name].containers()
        if (ended := runner.complete(container)).returncode != 0:
            failed[name] = f"{ended.returncode}: {ended.stderr}{ended.stdout}"
    assert failed == {}


def test_every_process_passes_its_probes_and_ends_in_time_after_an_event_went_all_the_way(
    runner: Runner, until: Any
) -> None:
    key = new_key(runner)
    with ExitStack() as stack:
        processes = {
            workload.labels["app.kubernetes.io/component"]: stack.enter_context(runner.running(workload))
            for workload in runner.rendering.workloads("Deployment")
        }
        assert len(processes) == 4
        for process in processes.values():
            for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
                until(lambda process=process, kind=kind: process.passes(kind))
            metrics = httpx.get(f"{process.url}/metrics", trust_env=False, timeout=10)
            assert "sspp_lane_depth_events" in metrics.text

        headers = {"Authorization": f"Bearer {key}"}
        client = stack.enter_context(
            httpx.Client(base_url=processes["api"].url, headers=headers, timeout=30, trust_env=False)
        )
        event = {
            "event_id": "mail-1",
            "event_type": "inquiry",
            "customer_id": "ada",
            "data": {"subject": "Quote for twenty seats", "message": "From May on."},
        }
        accepted = client.post("/v1/events", json=event)
        assert accepted.status_code == 202, accepted.text
        until(lambda: client.get("/v1/events/mail-1").json().get("status") == "indexed")
        until(lambda: client.get("/v1/search", params={"q": "seats"}).json()["total"] == 1)

        for name, process in processes.items():
            # uvicorn finishes its work and then lets the signal have its way.
            assert process.stop() in {0, -signal.SIGTERM}, f"{name}: {process.log.read_text()}"
