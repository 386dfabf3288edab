"""Nothing in the manifests points to something that is not there, and nothing is there that nobody points to."""

from collections.abc import Iterator

import pytest
from k8s_manifests import Document, Rendering, Workload, selects

# Made by whoever looks after the certificates of the public name, cert-manager for instance.
_MADE_ELSEWHERE = {"sspp-api-tls"}


def _references(workload: Workload) -> Iterator[tuple[str, str, str | None]]:
    """What the pods of `workload` refer to: kind, name, and key if it is one of several."""
    for volume in workload.spec.get("volumes", []):
        if source := volume.get("configMap"):
            yield from _items("ConfigMap", source["name"], source)
        elif source := volume.get("secret"):
            yield from _items("Secret", source["secretName"], source)
        elif source := volume.get("persistentVolumeClaim"):
            yield "PersistentVolumeClaim", source["claimName"], None
    for container in workload.containers():
        for source in container.get("envFrom", []):
            if reference := source.get("configMapRef"):
                yield "ConfigMap", reference["name"], None
            else:
                yield "Secret", source["secretRef"]["name"], None
        for entry in container.get("env", []):
            if reference := entry.get("valueFrom", {}).get("secretKeyRef"):
                yield "Secret", reference["name"], reference["key"]
            else:
                assert "value" in entry, f"{workload.name}: {entry} is of a kind that this test does not know"
    yield "ServiceAccount", workload.spec["serviceAccountName"], None
    yield "PriorityClass", workload.spec["priorityClassName"], None


def _items(kind: str, name: str, source: Document) -> Iterator[tuple[str, str, str | None]]:
    yield kind, name, None
    for item in source.get("items", []):
        yield kind, name, item["key"]


def test_configuration_secrets_accounts_and_claims_that_pods_name_are_there(rendering: Rendering) -> None:
    keys = {"ConfigMap": rendering.config, "Secret": rendering.secrets}
    for workload in rendering.workloads():
        for kind, name, key in _references(workload):
            there = set(keys[kind]) if kind in keys else rendering.names(kind)
            assert name in there, f"{workload.name} names {kind}/{name}, which is not there"
            assert key is None or key in keys[kind][name], f"{workload.name}: {kind}/{name} has no key {key}"


def test_no_configuration_secret_account_or_claim_is_left_over(rendering: Rendering) -> None:
    used = {(kind, name) for each in rendering.workloads() for kind, name, _ in _references(each)}
    used |= {
        # For Grafana, which finds them by this label.
        ("ConfigMap", each["metadata"]["name"])
        for each in rendering.of("ConfigMap")
        if each["metadata"]["labels"].get("grafana_dashboard") == "1"
    }
    there = {
        (kind, name)
        for kind in ("ConfigMap", "ServiceAccount", "PriorityClass", "PersistentVolumeClaim")
        for name in rendering.names(kind)
    } | {("Secret", name) for name in rendering.secrets}
    assert there == used


def test_each_volume_is_there_and_mounted(rendering: Rendering) -> None:
    for workload in rendering.workloads():
        volumes = {volume["name"] for volume in workload.spec.get("volumes", [])}
        volumes |= {
            claim["metadata"]["name"] for claim in workload.document["spec"].get("volumeClaimTemplates", [])
        }
        mounted = {mount["name"] for each in workload.containers() for mount in each.get("volumeMounts", [])}
        assert mounted == volumes, workload.name


def test_workloads_select_their_own_pods_and_no_others(rendering: Rendering) -> None:
    for workload in rendering.workloads("Deployment", "StatefulSet"):
        selector = workload.document["spec"]["selector"]
        assert rendering.selected(selector) == [workload]
        for constraint in workload.spec.get("topologySpreadConstraints", []):
            assert selects(constraint["labelSelector"], workload.labels)


def test_services_lead_to_one_workload_and_a_port_of_it(rendering: Rendering) -> None:
    for service in rendering.of("Service"):
        [workload] = rendering.selected({"matchLabels": service["spec"]["selector"]})
        for port in service["spec"]["ports"]:
            assert workload.port(port["targetPort"]), f"{workload.name} has no port {port['targetPort']}"
    for stateful in rendering.of("StatefulSet"):
        assert stateful["spec"]["serviceName"] in rendering.names("Service")


def test_the_ingress_leads_to_the_api_and_shows_neither_metrics_nor_readiness(rendering: Rendering) -> None:
    [ingress] = rendering.of("Ingress")
    ports = {
        (service["metadata"]["name"], port["name"])
        for service in rendering.of("Service")
        for port in service["spec"]["ports"]
    }
    for rule in ingress["spec"]["rules"]:
        for path in rule["http"]["paths"]:
            backend = path["backend"]["service"]
            assert (backend["name"], backend["port"]["name"]) in ports
            for closed in ("/metrics", "/readyz"):
                assert not closed.startswith(path["path"])
    for tls in ingress["spec"].get("tls", []):
        assert tls["secretName"] in _MADE_ELSEWHERE
        assert set(tls["hosts"]) == {rule["host"] for rule in ingress["spec"]["rules"]}


def test_what_scales_a_workload_is_one_and_the_workload_has_no_number_of_its_own(
    rendering: Rendering,
) -> None:
    scaled = []
    for scaler in rendering.of("HorizontalPodAutoscaler", "ScaledObject"):
        target = scaler["spec"]["scaleTargetRef"]
        workload = rendering.workload(target.get("kind", "Deployment"), target["name"])
        assert workload is not None, f"{target['name']} is not there"
        assert "replicas" not in workload.document["spec"], f"{workload.name} would be reset by each apply"
        scaled.append(workload.name)
    assert len(scaled) == len(set(scaled)), "two scalers pull at one workload"


def test_each_deployment_has_a_disruption_budget_that_lets_its_node_be_drained(rendering: Rendering) -> None:
    covered = []
    for budget in rendering.of("PodDisruptionBudget"):
        [workload] = rendering.selected(budget["spec"]["selector"])
        assert budget["spec"]["maxUnavailable"] == 1
        covered.append(workload.name)
    assert sorted(covered) == sorted(each.name for each in rendering.workloads("Deployment"))


def test_network_policies_are_about_pods_and_ports_that_are_there(rendering: Rendering) -> None:
    for policy in rendering.of("NetworkPolicy"):
        spec, name = policy["spec"], policy["metadata"]["name"]
        targets = rendering.selected(spec["podSelector"])
        assert targets, f"{name} is about no pod"
        for rule in spec.get("ingress", []):
            for port in rule["ports"]:
                assert any(target.port(port["port"]) for target in targets), f"{name}: {port}"
        for rule in spec.get("egress", []):
            for peer in rule["to"]:
                if "podSelector" in peer and "namespaceSelector" not in peer:
                    reached = rendering.selected(peer["podSelector"])
                    assert reached, f"{name} leads nowhere"
                    for port in rule["ports"]:
                        assert any(each.port(port["port"]) for each in reached), f"{name}: {port}"


def test_all_traffic_is_denied_that_no_policy_allows(rendering: Rendering) -> None:
    [denial] = [each for each in rendering.of("NetworkPolicy") if each["metadata"]["name"] == "default-deny"]
    assert denial["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_every_store_and_every_process_is_let_through_to_each_other(
    rendering: Rendering, direction: str
) -> None:
    policies = [each["spec"] for each in rendering.of("NetworkPolicy") if each["spec"].get(direction)]
    for workload in rendering.workloads():
        is_store = not workload.is_ours
        if is_store == (direction == "ingress"):
            allowed = {
                port["port"]
                for policy in policies
                if selects(policy["podSelector"], workload.labels)
                for rule in policy[direction]
                for port in rule["ports"]
            }
            wanted = {5432, 6379, 9200}
            assert allowed & wanted == wanted, f"{workload.name} is cut off"


def test_what_prometheus_scrapes_is_there(rendering: Rendering) -> None:
    for monitor in rendering.of("PodMonitor"):
        targets = [each for each in rendering.selected(monitor["spec"]["selector"]) if each.kind != "CronJob"]
        scraped = set()
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            found = {each.name for each in targets if each.port(endpoint["port"])}
            assert found, f"no pod has the port {endpoint['port']}"
            scraped |= found
        assert scraped == {each.name for each in targets}, "some process is not scraped"
