"""Conservation: what was acknowledged is in PostgreSQL as it was sent, once, and in the index as in PostgreSQL."""

import json
import math
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import islice
from typing import Any

import httpx
import psycopg
from psycopg.rows import class_row

from common.search.documents import SignalRow, document
from common.search.template import index_name
from fuzzing.documented import WORKER_CODES
from fuzzing.draft import STORED
from fuzzing.ledger import Ledger, Sent, fingerprint
from fuzzing.oracle import check_path
from fuzzing.platform import Platform, Tenant

# Documented, but each is a rule that is missing or a bug: none may occur.
_UNFORESEEN = {"unstorable", "processing_failed"}
_INDEX_CHUNK = 500

_SIGNALS = """
SELECT tenant_id, signal_id::text, event_id, event_type, customer_id, signal_type, signal_score, occurred_at,
       received_at, trace_id, amount, currency, data::text
FROM signals WHERE tenant_id = %s
"""


class Stores:
    """Looks into the platform's stores at the end of a run."""

    def __init__(self, platform: Platform, tenant: Tenant, ledger: Ledger) -> None:
        self._platform = platform
        self._tenant = tenant
        self._ledger = ledger

    def settle(self, timeout_seconds: float) -> None:
        """Wait until nothing waits: not in the lanes, not in the outbox."""
        deadline = time.monotonic() + timeout_seconds
        names = ("sspp_lane_depth_events", "sspp_outbox_depth_signals")
        with httpx.Client(base_url=self._platform.url, timeout=30, trust_env=False) as client:
            while True:
                lines = client.get("/metrics").text.splitlines()
                waiting = sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(names))
                if not waiting:
                    return
                if time.monotonic() > deadline:
                    self._ledger.violate(
                        "not settled", "stores", f"{waiting:g} events and signals still wait"
                    )
                    return
                time.sleep(0.2)

    def check(self) -> None:
        """Enter every difference between the books and the stores as a violation."""
        with psycopg.connect(self._platform.environment["DATABASE_URL"]) as connection:
            stored = self._check_events(connection)
            rejected = self._check_rejections(connection)
            self._check_conservation(stored, rejected)
            self._check_customers(connection)
            signals = self._check_index(connection)
        self._ledger.outcomes["signals in PostgreSQL and Elasticsearch"] = signals

    def _check_events(self, connection: psycopg.Connection[Any]) -> dict[str, bytes]:
        stored: dict[str, bytes] = {}
        with connection.cursor("events") as cursor:
            cursor.execute("SELECT event_id, raw FROM events WHERE tenant_id = %s", (self._tenant.tenant_id,))
            for event_id, raw in cursor:
                if event_id in stored:
                    self._ledger.violate("stored twice", "stores", event_id)
                if event_id not in self._ledger.acknowledged:
                    self._ledger.violate("stored unasked", "stores", (event_id, raw[:300]))
                stored[event_id] = fingerprint(raw.encode())
        self._ledger.outcomes[STORED] = len(stored)
        return stored

    def _check_rejections(self, connection: psycopg.Connection[Any]) -> dict[str, dict[bytes, str]]:
        rejected: dict[str, dict[bytes, str]] = defaultdict(dict)
        with connection.cursor("rejections") as cursor:
            cursor.execute(
                "SELECT event_id, raw, code, path, detail FROM rejected_events WHERE tenant_id = %s",
                (self._tenant.tenant_id,),
            )
            for event_id, raw, code, path, detail in cursor:
                self._ledger.outcomes[code] += 1
                family = next((sent.family for sent in self._ledger.acknowledged.get(event_id, ())), "stores")
                if code not in WORKER_CODES or code in _UNFORESEEN:
                    self._ledger.violate(f"rejected as {code}", family, (detail, raw[:300]))
                check_path(self._ledger, family, code, path, detail, raw.encode())
                rejected[event_id][fingerprint(raw.encode())] = code
        return rejected

    def _check_conservation(self, stored: dict[str, bytes], rejected: dict[str, dict[bytes, str]]) -> None:
        for event_id, all_sent in self._ledger.acknowledged.items():
            texts = {sent.fingerprint for sent in all_sent}
            if event_id in stored and stored[event_id] not in texts and not _ours(all_sent):
                self._ledger.violate("stored otherwise", all_sent[0].family, (event_id, all_sent[0].excerpt))
            for sent in all_sent:
                code = rejected.get(event_id, {}).get(sent.fingerprint)
                outcome = code or (STORED if event_id in stored else None)
                if outcome is None:
                    self._ledger.violate("lost", sent.family, (event_id, sent.excerpt))
                elif sent.allowed is not None and outcome not in sent.allowed:
                    self._ledger.violate(
                        f"became {outcome}", sent.family, (sorted(sent.allowed), sent.excerpt)
                    )
                elif code and stored.get(event_id) == sent.fingerprint:
                    self._ledger.violate("stored and rejected", sent.family, (event_id, sent.excerpt))

    def _check_customers(self, connection: psycopg.Connection[Any]) -> None:
        rows = connection.execute(
            "SELECT coalesce(sum(signal_count), 0), (SELECT count(*) FROM signals WHERE tenant_id = %(t)s)"
            " FROM customers WHERE tenant_id = %(t)s",
            {"t": self._tenant.tenant_id},
        ).fetchall()
        if rows[0][0] != rows[0][1]:
            self._ledger.violate(
                "sums differ", "stores", f"customers count {rows[0][0]} of {rows[0][1]} signals"
            )

    def _check_index(self, connection: psycopg.Connection[Any]) -> int:
        failures = connection.execute(
            "SELECT signal_id::text, reason FROM index_failures WHERE tenant_id = %s",
            (self._tenant.tenant_id,),
        ).fetchall()
        for signal_id, reason in failures:
            self._ledger.violate("refused by the index", "stores", (signal_id, reason))
        named = {signal_id for signal_id, _ in failures}
        url, total = self._platform.environment["ELASTICSEARCH_URL"], 0
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            client.post("/signals/_refresh")
            with connection.cursor("signals", row_factory=class_row(SignalRow)) as cursor:
                cursor.execute(_SIGNALS, (self._tenant.tenant_id,))
                rows = iter(cursor)
                while chunk := list(islice(rows, _INDEX_CHUNK)):
                    total += len(chunk)
                    self._compare(client, [row for row in chunk if row.signal_id not in named])
            query = {"query": {"term": {"tenant_id": str(self._tenant.tenant_id)}}}
            found = client.post("/signals/_count", json=query).json().get("count", 0)
        if found != total - len(named):
            self._ledger.violate("index differs", "stores", f"{found} documents for {total} signals")
        return total

    def _compare(self, client: httpx.Client, rows: Sequence[SignalRow]) -> None:
        # By its index and not by a search: the embedded server walks through all documents for any of those.
        by_index: dict[str, list[str]] = defaultdict(list)
        for row in rows:
            by_index[index_name(row.received_at)].append(row.signal_id)
        found: dict[str, Any] = {}
        for index, ids in by_index.items():
            answer = client.post(f"/{index}/_mget", json={"ids": ids})
            found |= {
                each["_id"]: each["_source"] for each in _json(answer.content)["docs"] if each.get("found")
            }
        for row in rows:
            try:
                wanted = _json(document(row).source)
            except ValueError as error:
                self._ledger.violate("no document", "stores", (row.event_id, error))
                continue
            source = found.get(row.signal_id)
            if source is None:
                self._ledger.violate("not in the index", row.event_type, (row.event_id, row.data[:300]))
            elif not _alike(source, wanted):
                parts = [name for name in wanted if not _alike(source.get(name), wanted[name])]
                self._ledger.violate(
                    "index says otherwise", row.event_type, (row.event_id, parts, str(source)[:300])
                )


def _alike(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same, but for the last bit of a double."""
    match one, other:
        case (float(), float()):
            return math.isclose(one, other, rel_tol=1e-15, abs_tol=0)
        case (dict(), dict()):
            return one.keys() == other.keys() and all(_alike(one[name], other[name]) for name in one)
        case (list(), list()):
            return len(one) == len(other) and all(map(_alike, one, other))
        case _:
            return type(one) is type(other) and one == other


def _ours(all_sent: Sequence[Sent]) -> bool:
    """Whether the platform itself wrote the event's text, as for the change of a profile."""
    return all_sent[0].excerpt == b""


def _json(text: bytes) -> Any:
    # Numbers as doubles: the embedded search server keeps those within `data` in no other way.
    return json.loads(text, parse_int=float, parse_float=float)
