"""What holds for every pod: the restricted Pod Security Standard, probes, limits, labels, images and graceful ends."""

import re
import tomllib
from pathlib import Path

import yaml
from k8s_manifests import K8S, Rendering, Workload

_ROOT = K8S.parent
_COMMON_LABELS = {
    f"app.kubernetes.io/{name}"
    for name in ("name", "component", "part-of", "instance", "version", "managed-by")
}
_VERSION = "app.kubernetes.io/version"
_LONGEST_BATCH_SECONDS = 15
"""How long a worker takes to stop while a store is away (docs/howto/run_workers.md)."""


def _long_running(rendering: Rendering) -> list[Workload]:
    return rendering.workloads("Deployment", "StatefulSet")


def test_images_have_a_version_and_never_latest(rendering: Rendering) -> None:
    for workload in rendering.workloads():
        for container in workload.containers():
            name, _, tag = container["image"].rpartition(":")
            assert name, f"{workload.name}: {container['image']} has no tag"
            assert re.match(r"\d+\.\d+", tag), f"{workload.name}: {container['image']}"


def test_the_images_version_is_that_of_the_platform_and_of_its_label(rendering: Rendering) -> None:
    version = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]["version"]
    ours = [each for each in rendering.workloads() if each.is_ours]
    assert {container["image"].rpartition(":")[2] for each in ours for container in each.containers()} == {
        version
    }
    assert {each.labels[_VERSION] for each in ours} == {version}


def test_everything_bears_the_recommended_labels(rendering: Rendering) -> None:
    for document in rendering.documents:
        labels = document["metadata"].get("labels", {})
        missing = _COMMON_LABELS - {"app.kubernetes.io/name", "app.kubernetes.io/component"} - labels.keys()
        assert not missing, f"{document['kind']}/{document['metadata']['name']} lacks {missing}"
    for workload in rendering.workloads():
        expected = _COMMON_LABELS if workload.is_ours else _COMMON_LABELS - {_VERSION}
        assert workload.labels.keys() >= expected, workload.name
        assert workload.document["metadata"]["labels"].keys() >= _COMMON_LABELS, workload.name


def test_a_release_changes_nothing_that_a_stateful_set_may_not_change(rendering: Rendering) -> None:
    for workload in rendering.workloads("StatefulSet"):
        for claim in workload.document["spec"]["volumeClaimTemplates"]:
            assert _VERSION not in claim["metadata"].get("labels", {}), workload.name


def test_everything_is_in_the_overlays_namespace_which_enforces_the_restricted_standard(
    rendering: Rendering,
) -> None:
    [namespace] = rendering.of("Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    spaces = {
        document["metadata"].get("namespace")
        for document in rendering.documents
        if document["kind"] not in {"Namespace", "PriorityClass"}
    }
    assert spaces == {namespace["metadata"]["name"]}


def test_pods_meet_the_restricted_standard_and_hold_no_token(rendering: Rendering) -> None:
    for workload in rendering.workloads():
        spec, name = workload.spec, workload.name
        assert spec["automountServiceAccountToken"] is False, name
        assert not any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")), name
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["runAsUser"] > 0, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not any("hostPath" in volume for volume in spec.get("volumes", [])), name
        for container in workload.containers():
            allowed = container["securityContext"]
            assert allowed["allowPrivilegeEscalation"] is False, name
            assert allowed["capabilities"] == {"drop": ["ALL"]}, name
            assert not allowed.get("privileged"), name
            # Elasticsearch writes beside its programs.
            if container["name"] != "elasticsearch":
                assert allowed["readOnlyRootFilesystem"] is True, f"{name}: {container['name']}"


def test_our_processes_run_as_the_images_user(rendering: Rendering) -> None:
    for workload in rendering.workloads():
        if workload.is_ours:
            assert workload.spec["securityContext"]["runAsUser"] == 10001
            assert any(volume.get("emptyDir") for volume in workload.spec["volumes"])


def test_no_account_has_a_role(rendering: Rendering) -> None:
    assert not rendering.of("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")
    for account in rendering.of("ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


def test_what_runs_on_is_probed_in_three_ways_at_a_port_that_it_has(rendering: Rendering) -> None:
    for workload in _long_running(rendering):
        for container in workload.containers(initial=False):
            for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
                assert kind in container, f"{workload.name} has no {kind}"
                for action in ("httpGet", "tcpSocket"):
                    if action in container[kind]:
                        assert workload.port(container[kind][action]["port"]), f"{workload.name}: {kind}"


def test_liveness_does_not_depend_on_any_store(rendering: Rendering) -> None:
    for workload in _long_running(rendering):
        if workload.is_ours:
            [container] = workload.containers(initial=False)
            probe = container["livenessProbe"]
            assert "tcpSocket" in probe or probe["httpGet"]["path"] == "/healthz"


def test_every_container_asks_for_cpu_and_memory_and_is_limited_in_memory(rendering: Rendering) -> None:
    for workload in rendering.workloads():
        for container in workload.containers():
            resources = container["resources"]
            assert {"cpu", "memory"} <= resources["requests"].keys(), f"{workload.name}: {container['name']}"
            assert "memory" in resources["limits"], f"{workload.name}: {container['name']}"


def test_processes_are_given_longer_to_end_than_a_batch_or_a_request_takes(rendering: Rendering) -> None:
    for workload in rendering.workloads("Deployment"):
        before = workload.spec["containers"][0].get("lifecycle", {}).get("preStop", {})
        pause = int(before["exec"]["command"][1]) if before else 0
        assert workload.spec["terminationGracePeriodSeconds"] > pause + _LONGEST_BATCH_SECONDS, workload.name
        rolling = workload.document["spec"]["strategy"]["rollingUpdate"]
        assert rolling == {"maxSurge": 1, "maxUnavailable": 0}, f"{workload.name} goes before it is replaced"


def test_pods_with_the_same_work_spread_over_nodes_and_zones(rendering: Rendering) -> None:
    for workload in rendering.workloads("Deployment"):
        keys = {each["topologyKey"] for each in workload.spec["topologySpreadConstraints"]}
        assert keys == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}


def test_only_what_needs_the_owners_url_has_it(rendering: Rendering) -> None:
    for workload in rendering.workloads():
        for container in workload.containers() if workload.is_ours else []:
            for name, _, key in rendering.environment(container):
                if name == "DATABASE_URL":
                    expected = {
                        "Deployment/sspp-api": "api-url",
                        "Deployment/sspp-worker-ingest": "worker-url",
                        "Deployment/sspp-worker-index": "worker-url",
                        "CronJob/sspp-backup": "backup-url",
                        "CronJob/sspp-revocations": "backup-url",
                        "CronJob/sspp-restore-drill": "drill-url",
                    }.get(workload.name, "migrator-url")
                    assert key == ("migrator-url" if container["name"] == "migrate" else expected)


def test_secrets_are_in_no_argument_and_no_configmap(rendering: Rendering) -> None:
    values = {
        value
        for keys in rendering.secrets.values()
        for value in keys.values()
        if value and not value.startswith("/")
    }
    open_to_all = yaml.safe_dump_all(
        [*rendering.of("ConfigMap"), *(each.template for each in rendering.workloads())]
    )
    assert not [value for value in values if value in open_to_all]


def test_only_development_has_its_secrets_in_the_repository() -> None:
    for path in sorted(Path(K8S).rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if document and (document.get("kind") == "Secret" or "secretGenerator" in document):
                assert path.parent.name == "dev", path
