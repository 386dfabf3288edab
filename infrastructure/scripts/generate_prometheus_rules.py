"""Writes the PrometheusRules of Kubernetes from the rule files that Prometheus itself reads.

``python infrastructure/scripts/generate_prometheus_rules.py`` writes ``prometheus-rules.yaml`` in
``k8s/components/monitoring``; with ``--check`` it writes nothing and fails if the file differs.
"""

import argparse
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
RULES = _ROOT / "infrastructure" / "monitoring" / "prometheus" / "rules"
TARGET = _ROOT / "k8s" / "components" / "monitoring" / "prometheus-rules.yaml"

_COMMAND = "python infrastructure/scripts/generate_prometheus_rules.py"

_RULE = """\
---
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: sspp-{name}
  labels: {{app.kubernetes.io/name: sspp, app.kubernetes.io/component: monitoring}}
spec:
"""


def manifest() -> str:
    """One PrometheusRule for each rule file, whose content is its spec, comments included."""
    parts = [f"# Generated: {_COMMAND}\n"]
    for path in sorted(RULES.glob("*.yml")):
        parts.append(_RULE.format(name=path.stem))
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        parts += [f"  {line}" if line.strip() else line for line in lines]
    return "".join(parts)


def main() -> int:
    """Write the file, or check it; the exit code is 1 if a checked file differs."""
    parser = argparse.ArgumentParser(description="Write the PrometheusRules of Kubernetes.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if the file differs")
    check: bool = parser.parse_args().check
    text = manifest()
    if TARGET.exists() and TARGET.read_text(encoding="utf-8") == text:
        return 0
    if check:
        print(f"{TARGET.name} differs; run {_COMMAND}")
        return 1
    TARGET.write_text(text, encoding="utf-8")
    print(f"{TARGET.name} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
