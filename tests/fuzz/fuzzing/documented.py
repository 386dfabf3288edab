"""The codes that the documentation promises, read from the documentation itself."""

import re
from collections import defaultdict

from fuzzing.platform import ROOT

_CODE = re.compile(r"`([a-z0-9]+(?:_[a-z0-9]+)*)`")
_SECTION = re.compile(r"^\*\*(.+?)\*\*", re.MULTILINE)


def _rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def _lifecycle() -> dict[str, str]:
    text = (ROOT / "docs/signal_lifecycle.md").read_text(encoding="utf-8")
    refusals = text.partition("\n## Refusals\n")[2].partition("\n## ")[0]
    parts = _SECTION.split(refusals)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _codes_by_status() -> dict[int, frozenset[str]]:
    found: dict[int, set[str]] = defaultdict(set)
    http = (ROOT / "docs/reference/http.md").read_text(encoding="utf-8")
    errors = http.partition("\n## Errors\n")[2].partition("\n## ")[0]
    for row in _rows(_lifecycle()["Of a whole request, by the API."]) + _rows(errors):
        if row[0].isdigit():
            found[int(row[0])].update(_CODE.findall(row[1]))
    found[422] |= API_CODES - {"event_too_large"}  # of a request that is one event
    return {status: frozenset(codes) for status, codes in found.items()}


def _codes(section: str) -> frozenset[str]:
    return frozenset(code for row in _rows(_lifecycle()[section]) for code in _CODE.findall(row[0]))


API_CODES = _codes("Of one event, by the API.")
"""Why the API refuses an event."""

WORKER_CODES = _codes("Of one event, by a worker.") | API_CODES
"""Why a worker refuses an event."""

CODES_BY_STATUS = _codes_by_status()
"""What a problem of each status may say."""
