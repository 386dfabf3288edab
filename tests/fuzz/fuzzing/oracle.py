"""What every answer must be, whatever was asked: documented, in its form, and silent about our insides."""

import json
import re
from typing import Any

from fuzzing.documented import API_CODES, CODES_BY_STATUS
from fuzzing.draft import Input
from fuzzing.ledger import Ledger
from fuzzing.wire import Answer

_INSIDES = re.compile(
    rb"Traceback|\.py\b|line \d+, in |psycopg|msgspec|elastic_transport|redis\.exceptions|<class|object at 0x"
)
_PROBLEM_MEMBERS = {"type", "title", "status", "detail", "code", "instance"}
_WHOLE_EVENT = ("missing required field", "an event is a JSON object")
_NEEDS_PATH = {
    "invalid_occurred_at": "/occurred_at",
    "unknown_event_type": "/event_type",
    "unsupported_character": "/data",
    "number_out_of_range": "/data",
    "key_too_long": "/data",
    "schema_violation": "/data",
}


def read_answer(ledger: Ledger, family: str, answer: Answer, *, protocol: bool = False) -> dict[str, Any]:
    """Check an answer by itself and return its JSON, if any.

    With `protocol` the request may have broken HTTP itself: then the server may hang up.
    """
    ledger.answers[answer.status] += 1
    if answer.status == 0:
        if not protocol:
            ledger.violate("no answer", family, "the server hung up")
        return {}
    if _INSIDES.search(answer.body) and answer.media_type not in ("text/plain", "text/html"):
        ledger.violate("insides shown", family, answer.body[:500])
    if answer.status < 400:
        is_json = answer.media_type == "application/json" and answer.body  # the answer to HEAD has none
        return _parsed(ledger, family, answer) if is_json else {}
    if not answer.body and not protocol:
        ledger.violate("empty answer", family, answer.status)
    if not answer.body:  # the answer to HEAD
        return {}
    return _problem(ledger, family, answer)


def check_path(ledger: Ledger, family: str, code: str, path: str, detail: str, raw: bytes) -> None:
    """A refusal for a field names that field, by a JSON Pointer that leads somewhere in the event."""
    wanted = _NEEDS_PATH.get(code, "")
    lacks = code == "invalid_envelope" and not path and not any(words in detail for words in _WHOLE_EVENT)
    if not path.startswith(wanted) or lacks:
        ledger.violate("path missing", family, (code, path, detail, raw[:300]))
    elif path and not _leads_somewhere(path, raw):
        ledger.violate("path leads nowhere", family, (code, path, detail, raw[:300]))


def check_codes(ledger: Ledger, family: str, code: str, one: Input, index: int) -> None:
    """The API refuses an event for a documented reason that this input may have."""
    ledger.refusals[code] += 1
    if code not in API_CODES:
        ledger.violate("undocumented code", family, (code, index))
    elif one.allowed is not None and code not in one.allowed:
        ledger.violate("wrongly refused", family, (code, sorted(one.allowed), one.raw[:300]))


def _problem(ledger: Ledger, family: str, answer: Answer) -> dict[str, Any]:
    if answer.media_type != "application/problem+json":
        ledger.violate("no problem details", family, (answer.status, answer.media_type, answer.body[:300]))
        return {}
    problem = _parsed(ledger, family, answer)
    code = problem.get("code", "")
    ledger.problems[f"{answer.status} {code}"] += 1
    if not problem.keys() >= _PROBLEM_MEMBERS or problem["status"] != answer.status or not problem["detail"]:
        ledger.violate("incomplete problem", family, problem)
    if code not in CODES_BY_STATUS.get(answer.status, ()):
        ledger.violate("undocumented problem", family, (answer.status, code, problem.get("detail")))
    if answer.status >= 500 and answer.status != 503:
        ledger.violate("server error", family, problem)
    if answer.status in (429, 503) and not answer.headers.get("retry-after", "").isdigit():
        ledger.violate("no Retry-After", family, answer.headers)
    if code == "invalid_request":
        errors = problem.get("errors") or [{}]
        if not all(error.get("detail") and ("parameter" in error or "pointer" in error) for error in errors):
            ledger.violate("path missing", family, problem)
    return problem


def _parsed(ledger: Ledger, family: str, answer: Answer) -> dict[str, Any]:
    try:
        found = json.loads(answer.body.decode(), parse_int=str, parse_float=str, parse_constant=_no_constant)
    except ValueError as error:
        ledger.violate("answer is no JSON", family, (error, answer.body[:300]))
        return {}
    if "status" in found and str(found["status"]).isdigit():
        found["status"] = int(found["status"])
    return found if isinstance(found, dict) else {}


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _leads_somewhere(path: str, raw: bytes) -> bool:
    try:
        node = json.loads(raw, strict=False, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return True  # nobody can follow a path in what cannot be parsed
    for escaped in path.split("/")[1:]:
        step = escaped.replace("~1", "/").replace("~0", "~")
        spelled_out = step.replace("\\u0000", "\0")  # which PostgreSQL could not keep in a path
        if isinstance(node, dict) and (step in node or spelled_out in node):
            node = node[step] if step in node else node[spelled_out]
        elif isinstance(node, list) and step.isdigit() and int(step) < len(node):
            node = node[int(step)]
        else:
            return False
    return True
