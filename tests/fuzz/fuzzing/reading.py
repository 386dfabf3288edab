"""Asking the API for what was sent: each event is shown as it was, to the byte, and the lists can be walked."""

from random import Random
from urllib.parse import quote

import msgspec

from fuzzing.client import Client
from fuzzing.ledger import Ledger, fingerprint
from fuzzing.oracle import read_answer

_READ_BACK, _SEARCHABLE = 200, 20_000
_MOST_PAGES, _MOST_PAGES_FOUND = 20, 2


def read_back(client: Client, ledger: Ledger, random: Random) -> None:
    """Ask for some of the acknowledged events, and walk the lists; what is wrong is entered into the books."""
    known = sorted(ledger.acknowledged)
    for event_id in random.sample(known, min(_READ_BACK, len(known))):
        sent = {each.fingerprint for each in ledger.acknowledged[event_id] if each.excerpt}
        answer = client.get(f"/v1/events/{quote(event_id, safe='')}")
        shown = msgspec.json.decode(answer.body, type=dict[str, msgspec.Raw]) if answer.status == 200 else {}
        if answer.status != 200 or (sent and fingerprint(bytes(shown["event"])) not in sent):
            ledger.violate("not shown as sent", "reading", (event_id, answer.status, answer.body[:300]))
    for path in ("/v1/signals", "/v1/customers", "/v1/rejected"):
        _walk(client, ledger, path, most_pages=_MOST_PAGES)
    # Not searched: a walk through hundreds of thousands of documents is beyond the embedded server's patience.
    if len(known) < _SEARCHABLE:
        _walk(client, ledger, "/v1/search", most_pages=_MOST_PAGES_FOUND)


def _walk(client: Client, ledger: Ledger, path: str, *, most_pages: int) -> None:
    cursor, seen = "", 0
    for _ in range(most_pages):
        answer = client.get(f"{path}?limit=100{cursor}")
        found = read_answer(ledger, f"pages of {path}", answer)
        if answer.status != 200:
            ledger.violate("list broken", f"pages of {path}", (seen, answer.status, answer.body[:300]))
            return
        seen += len(found["items"])
        if found["next_cursor"] is None:
            return
        cursor = f"&cursor={found['next_cursor']}"
