"""Writes what Grafana and Prometheus read, from the dashboards and objectives beside it.

``python -m infrastructure.monitoring.generate`` writes; with ``--check`` it writes nothing and fails if a file differs.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from infrastructure.monitoring.dashboards import DASHBOARDS
from infrastructure.monitoring.panels import render
from infrastructure.monitoring.slos import render_rules

HOME = Path(__file__).parent
RULES = HOME / "prometheus" / "rules"
GRAFANA = HOME / "grafana" / "dashboards"

_WIDTH = 160
_COMMAND = "python -m infrastructure.monitoring.generate"


def generated() -> dict[Path, str]:
    """What each generated file should hold, by its path."""
    files = {
        GRAFANA / f"{dashboard.name}.json": to_json(render(dashboard)) + "\n" for dashboard in DASHBOARDS
    }
    return files | {RULES / "slo.yml": render_rules()}


def to_json(value: Any, indent: int = 0, before: int = 0) -> str:
    """JSON that stays readable in a diff, and short: what fits into a line is not broken up.

    `before` is how many characters stand in the line already, behind the indent.
    """
    line = json.dumps(value, ensure_ascii=False)
    if indent + before + len(line) <= _WIDTH or not value or not isinstance(value, (dict, list)):
        return line
    inner = indent + 2
    if isinstance(value, dict):
        names = {key: f"{json.dumps(key)}: " for key in value}
        parts = [name + to_json(value[key], inner, len(name)) for key, name in names.items()]
        opening, closing = "{}"
    else:
        parts = [to_json(each, inner) for each in value]
        opening, closing = "[]"
    return "\n".join([opening, ",\n".join(" " * inner + part for part in parts), " " * indent + closing])


def main() -> int:
    """Write the files, or check them; the exit code is 1 if a checked file differs."""
    parser = argparse.ArgumentParser(description="Write dashboards and the rules of objectives.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if a file differs")
    check: bool = parser.parse_args().check
    stale = [
        (path, text)
        for path, text in generated().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path, text in stale:
        print(f"{path.name} {f'differs; run {_COMMAND}' if check else 'written'}")  # noqa: T201
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
