"""What the manifests put into environments is read by somebody; what they ask of Prometheus is measured."""

import re

import pytest
from k8s_manifests import Rendering, overlay

from common.metrics import CATALOGUE
from common.settings import Settings
from infrastructure.safekeeping.settings import BackupSettings

_RQ = {"RQ_REDIS_URL", "RQ_WORKER_CLASS"}
_KNOWN = {
    str(field.alias) for settings in (Settings, BackupSettings) for field in settings.model_fields.values()
} | _RQ


def test_every_variable_is_a_setting(rendering: Rendering) -> None:
    for workload in rendering.workloads():
        for container in workload.containers() if workload.is_ours else []:
            unknown = {name for name, _, _ in rendering.environment(container)} - _KNOWN
            assert not unknown, f"{workload.name}: {container['name']}: nobody reads {unknown}"


def test_values_that_are_known_here_are_valid(rendering: Rendering) -> None:
    for workload in rendering.workloads("Deployment"):
        [container] = workload.containers(initial=False)
        known = {
            # What is outside of the cluster, or mounted there, is not known here.
            name: value or "http://elsewhere"
            for name, value, _ in rendering.environment(container)
            if name != "SSPP_ELASTICSEARCH_CA_FILE"
        }
        settings = Settings.model_validate(known)
        assert settings.host == "0.0.0.0"
        assert settings.worker_metrics_host == "0.0.0.0"
        ports = {port["containerPort"] for port in container["ports"]}
        assert ports == {settings.worker_metrics_port or settings.port}


def test_production_and_staging_are_held_to_the_rules_of_production() -> None:
    for name in ("staging", "prod"):
        [config] = [values for each, values in overlay(name).config.items() if each.startswith("sspp-config")]
        assert config["SSPP_ENVIRONMENT"] == "production"
        assert "SSPP_ALLOW_PLAINTEXT" not in config


@pytest.mark.parametrize("name", ["staging", "prod"])
def test_what_keda_asks_for_is_measured_by_this_namespaces_processes(name: str) -> None:
    rendering = overlay(name)
    measured = {metric.name for metric in CATALOGUE}
    [namespace] = rendering.names("Namespace")
    for scaled in rendering.of("ScaledObject"):
        assert scaled["spec"]["minReplicaCount"] >= 1, "what a dead worker had taken needs a live one"
        for trigger in scaled["spec"]["triggers"]:
            query = trigger["metadata"]["query"]
            assert set(re.findall(r"sspp_[a-z_]+", query)) <= measured
            assert f'namespace="{namespace}"' in query
