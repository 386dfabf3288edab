"""Every document is valid, strictly, by the schemas of Kubernetes and of the operators."""

import copy
import os
from pathlib import Path

import pytest
import yaml
from k8s_manifests import K8S, Rendering, overlay, render, renderer
from k8s_schemas import InvalidManifestError, validate


def test_each_document_of_each_overlay_is_valid(rendering: Rendering) -> None:
    for document in rendering.documents:
        validate(document)


def test_plain_autoscalers_can_take_the_place_of_keda(tmp_path: Path) -> None:
    def relative(folder: str) -> str:
        return os.path.relpath(K8S / folder, tmp_path.resolve())

    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "sspp",
        "resources": [relative("base")],
        "components": [relative("components/queue-hpa")],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    rendering = render(tmp_path)
    for document in rendering.documents:
        validate(document)
    scaled = {each["spec"]["scaleTargetRef"]["name"] for each in rendering.of("HorizontalPodAutoscaler")}
    assert scaled == {"sspp-api", "sspp-worker-ingest", "sspp-worker-index"}


@pytest.mark.parametrize(
    "kind", ["Deployment", "NetworkPolicy", "ScaledObject", "PodMonitor", "PrometheusRule", "ExternalSecret"]
)
def test_a_field_that_no_schema_knows_is_found(kind: str) -> None:
    documents = overlay("prod").of(kind)
    if not documents and renderer() is None:
        pytest.skip("neither kustomize nor kubectl is installed, and this kind is not written down")
    document = copy.deepcopy(documents[0])
    document["spec"]["misspelt"] = 1
    with pytest.raises(InvalidManifestError, match="misspelt"):
        validate(document)
