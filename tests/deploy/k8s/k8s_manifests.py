"""The manifests as a cluster would get them: rendered by kustomize, and looked into."""

import shutil
import subprocess
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

K8S = Path(__file__).parents[3] / "k8s"
OVERLAYS = ("dev", "staging", "prod")

Document = dict[str, Any]


@dataclass(frozen=True)
class Workload:
    """Whatever makes pods, and the pods that it makes."""

    document: Document
    template: Document

    @property
    def kind(self) -> str:
        return str(self.document["kind"])

    @property
    def name(self) -> str:
        return f"{self.kind}/{self.document['metadata']['name']}"

    @property
    def labels(self) -> dict[str, str]:
        """Those of its pods."""
        return dict(self.template["metadata"]["labels"])

    @property
    def spec(self) -> Document:
        """That of its pods."""
        return dict(self.template["spec"])

    @property
    def is_ours(self) -> bool:
        """Whether it runs the platform's own image, and is no store."""
        return self.labels["app.kubernetes.io/name"] == "sspp"

    def containers(self, *, initial: bool = True) -> list[Document]:
        return [*(self.spec.get("initContainers", []) if initial else []), *self.spec["containers"]]

    def port(self, reference: str | int) -> int | None:
        """The number of a port of its pods, by its number or its name; None if there is none."""
        for container in self.containers():
            for port in container.get("ports", []):
                if reference in (port.get("name"), port["containerPort"]):
                    return int(port["containerPort"])
        return None


@dataclass(frozen=True)
class Rendering:
    """All documents of an overlay."""

    documents: list[Document]

    def of(self, *kinds: str) -> list[Document]:
        return [document for document in self.documents if document["kind"] in kinds]

    def names(self, kind: str) -> set[str]:
        return {document["metadata"]["name"] for document in self.of(kind)}

    def workloads(self, *kinds: str) -> list[Workload]:
        found = []
        for document in self.of(*(kinds or ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"))):
            spec = document["spec"]
            template = (spec["jobTemplate"]["spec"] if document["kind"] == "CronJob" else spec)["template"]
            found.append(Workload(document, template))
        return found

    def workload(self, kind: str, name: str) -> Workload | None:
        return next((each for each in self.workloads() if each.name == f"{kind}/{name}"), None)

    def selected(self, selector: Mapping[str, Any]) -> list[Workload]:
        return [each for each in self.workloads() if selects(selector, each.labels)]

    @property
    def config(self) -> dict[str, dict[str, str]]:
        """The ConfigMaps: name → key → value."""
        return {each["metadata"]["name"]: each.get("data", {}) for each in self.of("ConfigMap")}

    @property
    def secrets(self) -> dict[str, dict[str, str | None]]:
        """The Secrets: name → key → value, or None where it comes from outside of the cluster."""
        found: dict[str, dict[str, str | None]] = {}
        for each in self.of("Secret"):
            found[each["metadata"]["name"]] = {
                key: b64decode(value).decode() for key, value in each.get("data", {}).items()
            } | dict(each.get("stringData", {}))
        for each in self.of("ExternalSecret"):
            target = each["spec"]["target"]["name"]
            found[target] = {entry["secretKey"]: None for entry in each["spec"]["data"]}
        return found

    def environment(self, container: Document) -> Iterator[tuple[str, str | None, str]]:
        """What a container finds in its environment: name, value if it is known here, and the key that it is from."""
        sources: dict[str, tuple[str | None, str]] = {}
        for source in container.get("envFrom", []):
            if reference := source.get("configMapRef"):
                values: Mapping[str, str | None] = self.config[reference["name"]]
            else:
                values = self.secrets[source["secretRef"]["name"]]
            sources |= {name: (value, name) for name, value in values.items()}
        for entry in container.get("env", []):
            reference = entry.get("valueFrom", {}).get("secretKeyRef")
            if reference:
                value = self.secrets[reference["name"]][reference["key"]]
                sources[entry["name"]] = (value, reference["key"])
            else:
                sources[entry["name"]] = (entry["value"], entry["name"])
        for name, (value, key) in sources.items():
            yield name, value, key


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a selector, as Kubernetes has it in newer kinds, fits these labels."""
    expressions = selector.get("matchExpressions", [])
    assert all(expression["operator"] == "In" for expression in expressions), "only In is understood here"
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(expression["key"]) in expression["values"] for expression in expressions
    )


@lru_cache(maxsize=1)
def renderer() -> tuple[str, ...] | None:
    """The command that renders a folder: kustomize's own, or that of kubectl, which has it built in."""
    if found := shutil.which("kustomize"):
        return (found, "build")
    if found := shutil.which("kubectl"):
        return (found, "kustomize")
    return None


@lru_cache
def render(folder: Path) -> Rendering:
    """What kustomize makes of `folder`. Skips the test where there is no kustomize."""
    command = renderer()
    if command is None:
        pytest.skip("neither kustomize nor kubectl is installed")
    made = subprocess.run([*command, str(folder)], capture_output=True, text=True, timeout=60, check=False)
    assert made.returncode == 0, made.stderr
    assert not made.stderr.strip(), f"kustomize warns: {made.stderr}"
    return _load(made.stdout)


def overlay(name: str) -> Rendering:
    """An overlay, rendered now; where nothing renders, as it was written down, without what is generated."""
    return render(K8S / "overlays" / name) if renderer() else written_down(name)


@lru_cache
def written_down(name: str) -> Rendering:
    """An overlay as it is in the repository; a test of its own holds it to what is below k8s."""
    return _load((Path(__file__).parent / "rendered" / f"{name}.yaml").read_text(encoding="utf-8"))


def is_generated(document: Document) -> bool:
    """Whether a document is left out where overlays are written down: dashboards, and Prometheus's rules."""
    labels = document["metadata"].get("labels", {})
    return document["kind"] == "PrometheusRule" or "grafana_dashboard" in labels


def _load(text: str) -> Rendering:
    return Rendering([document for document in yaml.safe_load_all(text) if document])
