"""What backups and drills tell is what the alerts, rules and dashboards ask for, and exit codes are as documented."""

import re
from pathlib import Path

import pytest

from infrastructure.backup import errors
from infrastructure.safekeeping import errors as shared_errors
from infrastructure.safekeeping.errors import BackupError
from infrastructure.safekeeping.report import METRICS

ROOT = Path(__file__).parents[2]
RULES = ROOT / "infrastructure/monitoring/prometheus/rules"
DASHBOARDS = ROOT / "infrastructure/monitoring/grafana/dashboards"
HOWTO = (ROOT / "docs/howto/back_up_and_restore.md").read_text(encoding="utf-8")

ERRORS = (vars(errors) | vars(shared_errors)).values()

_NAME = re.compile(r"\bsspp_(?:backup|restore_drill)_\w+")


@pytest.mark.parametrize(
    "file", [*RULES.glob("*.yml"), *DASHBOARDS.glob("*.json")], ids=lambda file: file.name
)
def test_nothing_asks_for_a_metric_that_no_backup_tells(file: Path) -> None:
    assert set(_NAME.findall(file.read_text(encoding="utf-8"))) <= METRICS.keys()


@pytest.mark.parametrize("job", ["sspp_backup", "sspp_restore_drill"])
def test_age_and_failure_of_both_jobs_are_watched(job: str) -> None:
    rules = "".join(file.read_text(encoding="utf-8") for file in RULES.glob("*.yml"))
    asked = set(_NAME.findall(rules))
    assert {f"{job}_last_success_timestamp_seconds", f"{job}_last_run_success"} <= asked


@pytest.mark.parametrize(
    "error",
    [each for each in ERRORS if isinstance(each, type) and issubclass(each, BackupError)],
    ids=lambda error: error.code,
)
def test_every_failure_has_a_code_and_its_exit_code_stands_in_the_how_to(error: type[BackupError]) -> None:
    codes = re.search(rf"^\| (\d+) \| `{error.code}` \|", HOWTO, re.MULTILINE)
    assert codes, f"{error.code} is not in the table"
    assert int(codes[1]) == error.exit_code
