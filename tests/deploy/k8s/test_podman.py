"""Each overlay's manifests run as containers, and events flow through them.

Needs podman, root, the images of the stores that the development's manifests name, and in SSPP_TEST_IMAGE the name of
an image that was built from this checkout.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from k8s_manifests import OVERLAYS, Rendering, overlay
from k8s_play import Cluster, network, playing, within

pytestmark = pytest.mark.timeout(600)

_ASK = """
import json, sys, httpx
method, path, body = sys.argv[1:]
answer = httpx.request(method, "http://127.0.0.1:8000" + path, content=body or None, timeout=10, trust_env=False,
    headers={"Authorization": "Bearer " + sys.stdin.read(), "Content-Type": "application/json"})
print(json.dumps([answer.status_code, answer.json()]))
"""
_BUCKET = """
import sys, bucket_server
with bucket_server.serving() as bucket:
    print(bucket.url, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_event_flows_through_the_pods_and_the_cron_jobs_and_all_end_well(
    name: str, tmp_path: Path, outside: dict[str, str], until: Any
) -> None:
    with ExitStack() as stack:
        namespace = stack.enter_context(network())
        stores = stack.enter_context(playing(Cluster(overlay("dev"), tmp_path / "stores", namespace)))
        _start_stores(stores, until)
        cluster = stores
        if name != "dev":
            bucket = stack.enter_context(_bucket(namespace))
            given = _secrets_of(stores.rendering) | outside | {"SSPP_BACKUP_S3_ENDPOINT": bucket}
            cluster = stack.enter_context(
                playing(Cluster(overlay(name), tmp_path / "platform", namespace, given))
            )
        deployments = cluster.rendering.workloads("Deployment")
        cluster.play(deployments)
        key = _new_key(cluster)
        until(lambda: _ask(cluster, key, "GET", "/readyz")[0] == 200, timeout=90)
        event = {
            "event_id": "mail-1",
            "event_type": "inquiry",
            "customer_id": "ada",
            "data": {"subject": "Quote for twenty seats", "message": "From May on."},
        }
        assert _ask(cluster, key, "POST", "/v1/events", event)[0] == 202
        until(
            lambda: _ask(cluster, key, "GET", "/v1/events/mail-1")[1].get("status") == "indexed", timeout=60
        )
        until(lambda: _ask(cluster, key, "GET", "/v1/search?q=seats")[1].get("total") == 1, timeout=30)

        jobs = {each.document["metadata"]["name"]: each for each in cluster.rendering.workloads("CronJob")}
        ended = {
            job: cluster.complete(jobs.pop(job))
            for job in ("sspp-partitions", "sspp-backup", "sspp-revocations", "sspp-restore-drill")
        }
        assert jobs == {}
        assert {job: printed for job, (code, printed) in ended.items() if code != 0} == {}
        assert {each.name: code for each in deployments if (code := cluster.stop(each)) != 0} == {}


def _start_stores(stores: Cluster, until: Any) -> None:
    stores.play(stores.rendering.workloads("StatefulSet"))
    postgresql = stores.rendering.workload("StatefulSet", "postgresql")
    assert postgresql
    [container] = postgresql.containers()
    ready = container["readinessProbe"]["exec"]["command"]
    until(lambda: stores.podman("exec", stores.container(postgresql), *ready).returncode == 0, timeout=60)


def _secrets_of(rendering: Rendering) -> dict[str, str]:
    """The development's ways to its stores, by their keys, as a company's secret store would have them.

    By address: production takes plain text over loopback only.
    """
    given = {}
    for name in ("sspp-database", "sspp-stores"):
        [values] = [each for full, each in rendering.secrets.items() if full.startswith(name)]
        for key, value in values.items():
            assert value
            given[key] = value
            for service in rendering.names("Service"):
                given[key] = (
                    given[key].replace(f"@{service}:", "@127.0.0.1:").replace(f"//{service}:", "//127.0.0.1:")
                )
    return given


@contextmanager
def _bucket(namespace: str) -> Iterator[str]:
    """The URL of a bucket's server in the network of the pods."""
    command = [*within(namespace), sys.executable, "-c", _BUCKET]
    folder = Path(__file__).parents[2] / "integration" / "backup"
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder, text=True
    ) as server:
        assert server.stdout
        yield server.stdout.readline().strip()
        server.communicate()


def _ask(cluster: Cluster, key: str, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
    api = cluster.rendering.workload("Deployment", "sspp-api")
    assert api
    asked = cluster.podman(
        *("exec", "--interactive", cluster.container(api), "python", "-c", _ASK),
        *(method, path, json.dumps(body) if body else ""),
        input=key,
    )
    if asked.returncode != 0:
        return 0, {"error": asked.stderr}
    status, answer = json.loads(asked.stdout)
    return status, answer


def _new_key(cluster: Cluster) -> str:
    """A key of a new tenant, made as the manual says: where the owner's rights are."""
    maintenance = cluster.rendering.workload("Deployment", "sspp-worker-maintenance")
    assert maintenance
    for arguments in (
        ("tenants", "create", "acme", "--name", "Acme"),
        ("keys", "create", "acme", "--scope", "ingest", "--scope", "read"),
    ):
        done = cluster.podman("exec", cluster.container(maintenance), "sspp", *arguments)
        assert done.returncode == 0, done.stderr
    return done.stdout.strip()
