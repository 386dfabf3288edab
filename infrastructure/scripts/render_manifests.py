"""Writes down what kustomize makes of each overlay, for the tests where neither kustomize nor kubectl is installed.

``python infrastructure/scripts/render_manifests.py`` writes a file for each overlay into ``tests/deploy/k8s/rendered``;
it needs kustomize or kubectl. With ``--check`` it needs neither: it writes nothing, and fails if a file below ``k8s``
is not the one that was rendered.
"""

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_K8S = _ROOT / "k8s"
_TARGET = _ROOT / "tests" / "deploy" / "k8s" / "rendered"
_COMMAND = "python infrastructure/scripts/render_manifests.py"

# Generated from files elsewhere, each with a test of its own; nine tenths of the text.
_LEFT_OUT = re.compile(r"^kind: PrometheusRule$|^    grafana_dashboard: ", re.MULTILINE)
_LEFT_OUT_FILE = "prometheus-rules.yaml"


def header() -> str:
    """The first lines of each file, which tell what was rendered: a SHA-256 of all files that overlays are made of."""
    digest = hashlib.sha256()
    for folder in ("base", "components", "overlays"):
        for path in sorted((_K8S / folder).rglob("*")):
            if path.is_file() and path.name != _LEFT_OUT_FILE:
                digest.update(path.relative_to(_K8S).as_posix().encode() + b"\0")
                digest.update(path.read_bytes() + b"\0")
    return f"# Generated: {_COMMAND}\n# Of files with the SHA-256 {digest.hexdigest()}\n"


def rendered(overlay: Path, command: list[str]) -> str:
    """What kustomize makes of an overlay, without dashboards and Prometheus's rules.

    Raises:
        subprocess.CalledProcessError: kustomize refuses it, and has said why on standard error.
    """
    made = subprocess.run(  # noqa: S603  # our own arguments, no shell
        [*command, str(overlay)], stdout=subprocess.PIPE, text=True, check=True
    )
    return "---\n".join(part for part in made.stdout.split("---\n") if not _LEFT_OUT.search(part))


def main() -> int:
    """Write the files, or check them; the exit code is 1 if they cannot be written or a checked one is stale."""
    parser = argparse.ArgumentParser(description="Write down what kustomize makes of each overlay.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if a file is stale")
    check: bool = parser.parse_args().check
    head = header()
    files = {path: _TARGET / f"{path.name}.yaml" for path in sorted((_K8S / "overlays").iterdir())}
    if check:
        stale = [
            each.name
            for each in files.values()
            if not each.exists() or not each.read_text(encoding="utf-8").startswith(head)
        ]
        if stale:
            print(f"stale: {', '.join(stale)}; run {_COMMAND}")
        return 1 if stale else 0
    if found := shutil.which("kustomize"):
        command = [found, "build"]
    elif found := shutil.which("kubectl"):
        command = [found, "kustomize"]
    else:
        print(
            "neither kustomize nor kubectl is installed: docs/howto/deploy_on_kubernetes.md tells where from"
        )
        return 1
    _TARGET.mkdir(exist_ok=True)
    for overlay, target in files.items():
        target.write_text(head + rendered(overlay, command), encoding="utf-8")
    print(f"{len(files)} files written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
