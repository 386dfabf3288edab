"""Looks at what we depend on: whether its licences let us, and whether it has known vulnerabilities.

``python infrastructure/scripts/audit.py`` (``make audit``) reads the lock files. Licences are those that the installed
packages declare. For vulnerabilities it runs pip-audit, which asks PyPI's advisory database; where that is out of reach
it says that nothing was checked, and does not fail for it.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import Distribution, PackageMetadata, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LOCK_FILES = ("requirements.lock", "requirements-dev.lock", "requirements-bench.lock")

_UV = Path(sys.executable).with_name("uv")
_PIP_AUDIT = "pip-audit>=2.9,<3"
_PATIENCE_SECONDS = 300

# What a licence may be called: SPDX identifiers, what classifiers say, and what authors write. All of them ask for no
# more than to be named.
_PERMISSIVE = re.compile(
    r"(0BSD|MIT(-0|-CMU| License)?|ISC( License.*)?|Zlib|CC0-1\.0|Apache([- ]2\.0|[- ]Software License| License.*)?"
    r"|(new |modified |\d-clause )?BSD([- ]\d[- ]Clause)?( License.*)?|PSF-2\.0|Python Software Foundation License"
    r"|Unlicense.*)",
    re.IGNORECASE,
)

EXCEPTIONS: Mapping[str, str] = {
    "psycopg": "LGPL-3.0: used as a library, unmodified and replaceable, which is what that licence is for",
    "psycopg-binary": "as psycopg",
    "psycopg-pool": "as psycopg",
    "certifi": "MPL-2.0: a list of certificates, passed on unmodified",
    "hypothesis": "MPL-2.0: runs in tests, and is part of nothing that is passed on",
    "pathspec": "MPL-2.0: as hypothesis; mypy needs it",
    "pyrage": "MIT by its LICENSE and README; its metadata name none",
    "dramatiq": "LGPL-3.0: runs in benchmarks, unmodified, and is part of nothing that is passed on",
}
"""Packages whose licence is not on the list of permissive ones, and why we use them nevertheless."""


def locked(lock_file: Path) -> Iterator[str]:
    """The names of the packages that `lock_file` pins."""
    for line in lock_file.read_text(encoding="utf-8").splitlines():
        name, separator, _ = line.partition("==")
        if separator:
            yield name


def licence_of(metadata: PackageMetadata) -> str:
    """What a package says its licence is: an SPDX expression, or else its classifiers, or else its own words."""
    if "License-Expression" in metadata:
        return metadata["License-Expression"]
    classifiers = metadata.get_all("Classifier") or []
    named = [
        each.rpartition(" :: ")[2] for each in classifiers if each.startswith("License :: OSI Approved :: ")
    ]
    if named:
        return " AND ".join(named)  # nothing says which of several one may choose
    words = metadata["License"].strip() if "License" in metadata else ""
    return words.partition("\n")[0] or "none"


def is_permissive(licence: str) -> bool:
    """Whether an expression of licences lets us do what the MIT licence does."""
    return any(
        all(_PERMISSIVE.fullmatch(each.strip(" ()")) for each in re.split(r"\s+AND\s+", choice))
        for choice in re.split(r"\s+OR\s+", licence)
    )


def licence_problems(names: Sequence[str]) -> list[str]:
    """What is wrong with the licences of these packages. Those that are not installed here are passed over."""
    problems = []
    for name in names:
        try:
            found: Distribution = distribution(name)
        except PackageNotFoundError:  # for another system, or of a part that was not asked for
            continue
        licence = licence_of(found.metadata)
        if not is_permissive(licence) and name not in EXCEPTIONS:
            problems.append(f"{name} {found.version}: {licence}")
    return problems


def vulnerabilities(report: str) -> tuple[list[str], list[str]]:
    """What pip-audit found, from its JSON.

    Returns:
        The vulnerabilities, and the packages that could not be looked up.

    Raises:
        ValueError: this is no report, or one about nothing: it could not do its work.
    """
    found: dict[str, Any] = json.loads(report)
    unknown = [package["name"] for package in found["dependencies"] if "skip_reason" in package]
    if len(unknown) == len(found["dependencies"]):
        raise ValueError("it knows none of the packages")
    return [
        f"{package['name']} {package['version']}: {each['id']},"
        f" fixed in {', '.join(each['fix_versions']) or 'no release yet'}"
        for package in found["dependencies"]
        for each in package.get("vulns", ())
    ], unknown


def _ask_pip_audit(lock_file: Path) -> str:
    command = [
        *(str(_UV), "tool", "run", "--quiet", "--from", _PIP_AUDIT, "pip-audit"),
        *("--requirement", str(lock_file), "--no-deps", "--disable-pip"),
        *("--format", "json", "--progress-spinner", "off"),
    ]
    done = subprocess.run(  # noqa: S603  # our own arguments, no shell
        command, capture_output=True, text=True, check=False, timeout=_PATIENCE_SECONDS
    )
    if not done.stdout.strip():
        raise ValueError((done.stderr.strip() or "no answer").splitlines()[-1])
    return done.stdout


def main() -> int:
    """Print what is wrong; the exit code is 1 if anything is."""
    parser = argparse.ArgumentParser(
        description="Check the licences and known vulnerabilities of dependencies."
    )
    parser.add_argument("--offline", action="store_true", help="look at the licences only")
    offline: bool = parser.parse_args().offline
    lock_files = [ROOT / name for name in LOCK_FILES]
    names = sorted({name for lock_file in lock_files for name in locked(lock_file)})

    problems = licence_problems(names)
    print(f"licences: {len(names)} packages, {len(problems)} not permissive, {len(EXCEPTIONS)} exceptions")
    if offline:
        print("vulnerabilities: NOT CHECKED, as asked")
    else:
        try:
            reports = [vulnerabilities(_ask_pip_audit(lock_file)) for lock_file in lock_files]
        except (OSError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
            print(f"vulnerabilities: NOT CHECKED: the advisory database is out of reach ({error})")
        else:
            known = sorted({each for found, _ in reports for each in found})
            unknown = sorted({each for _, names in reports for each in names})
            print(f"vulnerabilities: {len(known)}; could not be looked up: {', '.join(unknown) or 'none'}")
            problems += known
    for problem in problems:
        print(f"  {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
