"""The short version of ``make chaos``: one fault of every family."""

import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from harness.faults import FAULTS, draw

FAMILIES = {fault.family for fault in FAULTS}
SEED = 24


@pytest.mark.timeout(600)
def test_whatever_dies_nothing_is_lost_or_doubled_and_events_flow_again(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    options = {
        "--seed": SEED,
        "--faults": len(FAMILIES),
        "--rate": 200,
        "--clients": 4,
        "--liveness": 2,
        "--throughput-events": 0,
        "--report": report,
    }
    words = [str(word) for option in options.items() for word in option]

    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("run.py")), *words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"NO_COLOR": "1", "COLUMNS": "100"},
    )

    assert done.returncode == 0, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(report.read_text())
    assert len(told["outcomes"]) == len(FAMILIES)
    assert told["events_acknowledged"] > 0
    assert (told["lost"], told["doubled"], told["wrong_totals"]) == (0, 0, 0)
    assert told["recovery"]["overall"]["stored"]["max"] < 60


def test_a_round_of_faults_has_one_of_every_family() -> None:
    drawn = [fault for fault, _ in islice(draw(SEED), 3 * len(FAMILIES))]

    for first in range(0, len(drawn), len(FAMILIES)):
        assert {fault.family for fault in drawn[first : first + len(FAMILIES)]} == FAMILIES


def test_hundreds_of_faults_have_every_kind() -> None:
    assert {fault.name for fault, _ in islice(draw(SEED), 200)} == {fault.name for fault in FAULTS}


def test_the_same_seed_draws_the_same_faults_and_parameters() -> None:
    def drawn(seed: int) -> list[tuple[str, float]]:
        return [(fault.name, dice.random()) for fault, dice in islice(draw(seed), 100)]

    assert drawn(SEED) == drawn(SEED)
    assert drawn(SEED) != drawn(SEED + 1)
