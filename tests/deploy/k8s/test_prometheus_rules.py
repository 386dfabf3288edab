"""The PrometheusRules hold what Prometheus reads beside docker-compose.yml, group by group."""

import subprocess
import sys

import pytest
import yaml
from k8s_manifests import K8S, render

_ROOT = K8S.parent
_RULES = _ROOT / "infrastructure" / "monitoring" / "prometheus" / "rules"


@pytest.mark.parametrize("name", ["staging", "prod"])
def test_every_group_of_every_rule_file_is_in_the_overlay(name: str) -> None:
    files = sorted(_RULES.glob("*.yml"))
    assert files
    expected = [group for path in files for group in yaml.safe_load(path.read_text())["groups"]]
    rendered = [
        group
        for rule in render(K8S / "overlays" / name).of("PrometheusRule")
        for group in rule["spec"]["groups"]
    ]
    assert sorted(rendered, key=lambda group: group["name"]) == sorted(
        expected, key=lambda group: group["name"]
    )


def test_the_generated_manifest_is_that_of_the_rule_files() -> None:
    script = _ROOT / "infrastructure" / "scripts" / "generate_prometheus_rules.py"
    checked = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, check=False)
    assert checked.returncode == 0, checked.stdout
