import ast
from pathlib import Path

import pytest

TIER = Path(__file__).parents[1] / "acceptance"
OURS = {"api", "common", "infrastructure", "worker"}


@pytest.mark.parametrize("path", sorted(TIER.glob("*.py")), ids=lambda path: path.name)
def test_acceptance_tests_import_nothing_of_ours(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module.split(".")[0])

    assert not imported & OURS
