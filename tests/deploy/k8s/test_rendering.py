"""What the tests read where nothing renders is what kustomize makes of the files below k8s."""

import subprocess
import sys

import pytest
from k8s_manifests import K8S, OVERLAYS, is_generated, render, written_down

_SCRIPT = K8S.parent / "infrastructure" / "scripts" / "render_manifests.py"


def test_the_overlays_are_written_down_as_they_are_now() -> None:
    checked = subprocess.run(
        [sys.executable, str(_SCRIPT), "--check"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_no_overlay_is_forgotten() -> None:
    assert {path.name for path in (K8S / "overlays").iterdir()} == set(OVERLAYS)


@pytest.mark.parametrize("name", OVERLAYS)
def test_what_is_written_down_is_what_kustomize_makes(name: str) -> None:
    documents = render(K8S / "overlays" / name).documents
    assert written_down(name).documents == [each for each in documents if not is_generated(each)]
