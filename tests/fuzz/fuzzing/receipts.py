"""What the API says of the events of a request: each is either acknowledged or refused, and none of them twice."""

from collections.abc import Sequence
from typing import Any

import msgspec

from fuzzing.draft import Input
from fuzzing.ledger import Ledger
from fuzzing.oracle import check_codes, check_path

# What the API finds in any event before it accepts one; other codes may be a worker's to find later.
_UNFIT_CODES = {"invalid_json", "event_too_large", "nesting_too_deep"}


def check_receipt(
    ledger: Ledger, family: str, found: dict[str, Any], sent: Sequence[Input], families: Sequence[str]
) -> None:
    """Judge an answer on the events `sent`, each of one of `families`, and enter what it acknowledges into the books.

    Args:
        ledger: the books.
        family: whose request it was.
        found: the answer.
        sent: the events in order; empty if nobody can tell which they are.
        families: as many as events.
    """
    refused = {int(each["index"]): each for each in found.get("rejected", ())}
    accepted = [index for index in range(len(sent)) if index not in refused]
    event_ids = found.get("event_ids")
    if event_ids is None:  # the client asked to leave them out
        event_ids = [_event_id(sent[index].raw) for index in accepted]
    if int(found.get("accepted", 0)) != len(accepted) or len(event_ids) != len(accepted):
        ledger.violate("receipt does not add up", family, (len(sent), len(accepted), found.get("accepted")))
        return
    for index, refusal in refused.items():
        if sent:
            code, one, name = refusal["code"], sent[index], families[index]
            check_codes(ledger, name, code, one, index)
            check_path(ledger, name, code, refusal["path"], refusal["detail"], one.raw)
    for index, event_id in zip(accepted, event_ids, strict=True):
        one, name = sent[index], families[index]
        if one.allowed is not None and not one.allowed - _UNFIT_CODES:
            ledger.violate("wrongly accepted", name, (sorted(one.allowed), one.raw[:300]))
        ledger.acknowledge(event_id, _bare(one.raw), one.allowed, name)


def _bare(raw: bytes) -> bytes:
    """The event as the platform understands it: without the white space around it, and a body's byte order mark."""
    return raw.removeprefix(b"\xef\xbb\xbf").strip(b" \t\r\n")


def _event_id(raw: bytes) -> str:
    return str(msgspec.json.decode(raw)["event_id"])
