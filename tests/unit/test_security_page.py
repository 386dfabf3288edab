"""The threat model names tests that there are."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = sorted(set(re.findall(r"`(test_\w+)`", (ROOT / "SECURITY.md").read_text(encoding="utf-8"))))
DEFINED = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^ *(?:async )?def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE)
}


@pytest.mark.parametrize("name", NAMED)
def test_a_test_of_the_threat_model_exists(name: str) -> None:
    assert name in DEFINED


def test_each_attack_has_a_test() -> None:
    rows = [
        line
        for line in (ROOT / "SECURITY.md").read_text(encoding="utf-8").splitlines()
        if line.count("|") == 4 and not line.startswith(("|---", "| attack |"))
    ]
    assert len(rows) > 15
    assert [row for row in rows if "`test_" not in row.rpartition(" | ")[2]] == []
