"""What the tests here and below need: Prometheus's own programs, and modules of the acceptance tests beside these."""

import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(ROOT / "tests" / "acceptance"))


@pytest.fixture(scope="session")
def promtool() -> str:
    return _program("promtool")


@pytest.fixture(scope="session")
def prometheus() -> str:
    return _program("prometheus")


@pytest.fixture(scope="session")
def node_exporter() -> str:
    return _program("prometheus-node-exporter")


def _program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=ROOT / ".tools" / "usr" / "bin")
    if found is None:
        pytest.skip(f"{name} is neither on PATH nor in .tools (Debian and Ubuntu: make prometheus)")
    return found
