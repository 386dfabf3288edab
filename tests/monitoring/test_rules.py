import json
import re
import subprocess
from pathlib import Path

import pytest
from alert_cases import CASES, Case, Series

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "infrastructure" / "monitoring" / "prometheus"
RULES = {path: path.read_text(encoding="utf-8") for path in sorted((PROMETHEUS / "rules").glob("*.yml"))}
RECORDING = PROMETHEUS / "rules" / "recording.yml"
ALERTS = [name for text in RULES.values() for name in re.findall(r"- alert: (\w+)", text)]
RUNBOOKS = ROOT / "docs" / "runbooks"


def run(promtool: str, *arguments: object) -> None:
    done = subprocess.run([promtool, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def moment(case: Case, series: Series, at: str, *, fires: bool) -> dict[str, object]:
    """One test of promtool: what `series` make of the case's alert at one moment."""
    expected = {
        "exp_labels": {"severity": case.severity, **case.labels},
        "exp_annotations": {"summary": case.summary, "runbook": f"docs/runbooks/{case.alert}.md"},
    }
    return {
        "interval": case.interval,
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {"eval_time": at, "alertname": case.alert, "exp_alerts": [expected] if fires else []}
        ],
    }


def test_every_alert_has_a_case() -> None:
    assert sorted({case.alert for case in CASES}) == sorted(ALERTS)


def test_every_alert_has_a_runbook_page_and_every_page_an_alert() -> None:
    pages = {path.stem for path in RUNBOOKS.glob("Sspp*.md")}
    assert pages == set(ALERTS)
    listed = re.findall(r"\((Sspp\w+)\.md\)", (RUNBOOKS / "README.md").read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_a_runbook_page_says_what_it_means_and_what_to_do(alert: str) -> None:
    text = (RUNBOOKS / f"{alert}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {alert}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["What it means", "What to do", "When it is over"]


def test_prometheus_accepts_its_configuration(promtool: str) -> None:
    run(promtool, "check", "config", PROMETHEUS / "prometheus.yml")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.alert}-{case.labels.get('slo', case.at)}")
def test_an_alert_fires_when_it_should_and_only_then(promtool: str, case: Case, tmp_path: Path) -> None:
    tests = [moment(case, case.fires, case.at, fires=True)]
    if case.quiet:
        tests.append(moment(case, case.quiet, case.at, fires=False))
    if case.not_yet:
        tests.append(moment(case, case.fires, case.not_yet, fires=False))
    [home] = [path for path, text in RULES.items() if f"- alert: {case.alert}\n" in text]
    files = {RECORDING, home}  # the others would only take time
    groups = [name for path in files for name in re.findall(r"- name: (\S+)", RULES[path])]
    path = tmp_path / "test.yml"  # JSON is YAML
    path.write_text(
        json.dumps(
            {
                "rule_files": list(map(str, files)),
                "evaluation_interval": case.interval,
                # What is recorded first: promtool would otherwise take any order.
                "group_eval_order": sorted(groups, key=lambda name: not name.endswith("recording")),
                "tests": tests,
            }
        )
    )
    run(promtool, "test", "rules", path)
