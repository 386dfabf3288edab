"""Runs scenarios of the benchmark suite: ``python tests/bench/run.py store_stage --quick``."""

import sys
from importlib import import_module

from suite.bench import Scope, open_bench


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


with open_bench(_say, Scope(quick="--quick" in sys.argv)) as bench:
    for scenario in [name for name in sys.argv[1:] if not name.startswith("-")]:
        found = import_module(f"suite.scenarios.{scenario}").run(bench)
        for each in found.comparisons:
            _say(
                f"{each.key} {each.ratio:.3f} {each.spread} {each.ours.median:.6g} {each.theirs.median:.6g} {each.goal}"
            )
        _say(f"{found.figures} {found.problems}")
