"""What `make audit` says of licences and of vulnerabilities, and that its exceptions are still needed."""

import json
import runpy
from email.message import EmailMessage
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
audit = SimpleNamespace(**runpy.run_path(str(ROOT / "infrastructure" / "scripts" / "audit.py")))


def metadata(*fields: tuple[str, str]) -> EmailMessage:
    message = EmailMessage()
    for name, value in fields:
        message[name] = value
    return message


@pytest.mark.parametrize(
    ("licence", "permissive"),
    [
        ("MIT", True),
        ("Apache-2.0 OR BSD-2-Clause", True),
        ("GPL-3.0-only OR MIT", True),
        ("BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0", True),
        ("MIT AND LGPL-3.0-only", False),
        ("LGPL-3.0-only", False),
        ("AGPL-3.0-or-later", False),
        ("GNU General Public License v3 (GPLv3)", False),
        ("MITRE Proprietary", False),
        ("none", False),
    ],
)
def test_permissive_is_what_is_on_the_list(licence: str, permissive: bool) -> None:
    assert audit.is_permissive(licence) == permissive


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ([("License-Expression", "MIT"), ("License", "whatever")], "MIT"),
        (
            [("License", "See the file"), ("Classifier", "License :: OSI Approved :: MIT License")],
            "MIT License",
        ),
        (
            [("Classifier", f"License :: OSI Approved :: {each}") for each in ("MIT License", "GPLv3")],
            "MIT License AND GPLv3",
        ),
        ([("License", "New BSD")], "New BSD"),
        ([], "none"),
    ],
)
def test_a_licence_is_what_the_package_says_most_clearly(fields: list[tuple[str, str]], licence: str) -> None:
    assert audit.licence_of(metadata(*fields)) == licence


def test_all_our_dependencies_may_be_used() -> None:
    names = {name for lock_file in audit.LOCK_FILES for name in audit.locked(ROOT / lock_file)}

    assert audit.licence_problems(sorted(names)) == []
    assert audit.EXCEPTIONS.keys() <= names


@pytest.mark.parametrize("name", audit.EXCEPTIONS)
def test_each_exception_is_needed(name: str) -> None:
    try:
        found = distribution(name)
    except PackageNotFoundError:
        pytest.skip("installed by make bench only")

    assert not audit.is_permissive(audit.licence_of(found.metadata))


def test_a_vulnerability_is_named_with_its_cure() -> None:
    report = {
        "dependencies": [
            {"name": "one", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]},
            {"name": "two", "version": "2.0", "vulns": [{"id": "PYSEC-2", "fix_versions": []}]},
            {"name": "three", "version": "3.0", "vulns": []},
            {"name": "four", "skip_reason": "not on PyPI"},
        ]
    }

    assert audit.vulnerabilities(json.dumps(report)) == (
        ["one 1.0: PYSEC-1, fixed in 1.1", "two 2.0: PYSEC-2, fixed in no release yet"],
        ["four"],
    )


@pytest.mark.parametrize(
    ("report", "words"),
    [
        ("no route to host", "Expecting value"),
        (json.dumps({"dependencies": [{"name": "one", "skip_reason": "not found"}]}), "none of the packages"),
    ],
)
def test_what_says_nothing_counts_as_not_checked(report: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        audit.vulnerabilities(report)
