"""What the tests of the search index share: signals to be indexed, and ways to see what became of them."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import psycopg
from elastic_transport import Urllib3HttpNode
from elasticsearch import Elasticsearch

from common.envelope import event_key, signal_id
from common.metrics import Metrics
from common.search.indices import refresh
from common.search.template import ALIAS
from worker.index.stage import IndexStage

OCTOBER = datetime(2026, 10, 5, tzinfo=UTC)
NOVEMBER = datetime(2026, 11, 21, 10, 30, tzinfo=UTC)
NOVEMBER_INDEX = "signals-2026-11"

DATA: dict[str, Any] = {
    "amount": 0.1,
    "many": 123456789012345678901234567890,
    "whole": 2.0,
    "nested": [{"a": -1e20}, None, True, ""],
}
"""What servers may keep each in their own way."""

MakeStage = Callable[..., IndexStage]
"""Makes an index stage, on another `client` if given, with changed settings."""

AddIndexed = Callable[..., list[str]]
"""Stores a batch of signals as `SignalStore.add` does, and has it indexed; returns their ids in order."""


class SignalStore:
    """Stores signals with their outbox rows, as the ingest stage does, and knows all of their ids."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self.connection = connection
        self.ids: set[str] = set()

    def add(
        self,
        count: int = 1,
        *,
        received_at: datetime = NOVEMBER,
        tenant_id: int = 1,
        customer_id: str = "c-1",
        data: Mapping[str, Any] = DATA,
    ) -> list[str]:
        """One batch, numbered from 1 on; returns the ids in order."""
        with self.connection.transaction():
            batch = self.value("SELECT nextval('batch_ids')")
            ids = sorted(signal_id(event_key(tenant_id, f"{batch}-{n}"), 0) for n in range(count))
            self.connection.cursor().executemany(
                "INSERT INTO signals"
                " VALUES (%s, %s, %s, %s, 'purchase', %s, 'revenue', 0.9, %s, NULL, 9.90, 'USD', %s)",
                [
                    (each, received_at, tenant_id, f"{batch}-{n}", customer_id, NOVEMBER, json.dumps(data))
                    for n, each in enumerate(ids)
                ],
            )
            self.connection.execute(
                "INSERT INTO event_keys SELECT event_key_of(signal_id), tenant_id, received_at FROM signals"
                " WHERE signal_id = ANY (%s)",
                (ids,),
            )
            self.connection.execute(
                "INSERT INTO outbox (batch_id, tenant_id, signal_ids, received_from, received_until)"
                " VALUES (%s, %s, %s, %s, %s)",
                (batch, tenant_id, ids, received_at, received_at),
            )
        added = [str(each) for each in ids]
        self.ids.update(added)
        return added

    def execute(self, statement: str, parameters: Any = None) -> None:
        self.connection.execute(statement, parameters)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(statement).fetchall()

    def value(self, statement: str) -> Any:
        ((value,),) = self.rows(statement)
        return value

    def pending(self) -> list[int]:
        """The batches that are not marked as indexed."""
        return [
            batch for (batch,) in self.rows("SELECT batch_id FROM outbox WHERE indexed_at IS NULL ORDER BY 1")
        ]

    def put_off(self) -> dict[int, int]:
        """How often each batch was put off; those that never were are left out."""
        return dict(self.rows("SELECT batch_id, attempts FROM outbox WHERE put_off_until IS NOT NULL"))

    def set_due(self, interval: str) -> None:
        """Make what was put off due in `interval` from now."""
        self.execute(
            "UPDATE outbox SET put_off_until = now() + %s::interval WHERE put_off_until IS NOT NULL",
            (interval,),
        )

    def let_time_pass(self, interval: str) -> None:
        """Make it longer ago that documents were indexed and marks were made."""
        self.execute(
            "UPDATE index_marks SET checkpoint_at = checkpoint_at - %(by)s::interval,"
            " next_checkpoint_at = next_checkpoint_at - %(by)s::interval",
            {"by": interval},
        )
        self.execute("UPDATE outbox SET indexed_at = indexed_at - %(by)s::interval", {"by": interval})


def drain(stage: IndexStage) -> int:
    """Run a stage as a drain of its own would, until nothing is left; returns how much it handled."""
    handled = 0
    while count := stage.step(0):
        handled += count
    return handled


def indexed(client: Elasticsearch) -> dict[str, dict[str, Any]]:
    """What search finds, by id."""
    return {hit["_id"]: hit for hit in _hits(client)}


def sources(client: Elasticsearch) -> dict[str, Any]:
    """The documents that search finds, by id."""
    return {key: hit["_source"] for key, hit in indexed(client).items()}


def answers(client: Elasticsearch) -> Counter[str]:
    """How often search answers each signal."""
    return Counter(hit["_id"] for hit in _hits(client))


def indices(client: Elasticsearch) -> dict[str, bool]:
    """All indices of ours on the server, and whether each answers searches."""
    found = client.indices.get_alias(index=f"{ALIAS}-*", expand_wildcards="all")
    return {name: ALIAS in about["aliases"] for name, about in found.items()}


def month(instant: datetime) -> date:
    return instant.date().replace(day=1)


def with_requests(url: str, around: Callable[[str, Callable[[], Any]], Any]) -> Elasticsearch:
    """A client whose requests are made by `around`, which is given "METHOD /path" and what sends the request."""

    class Between(Urllib3HttpNode):
        def perform_request(self, method: str, target: str, *args: Any, **options: Any) -> Any:
            return around(
                f"{method} {target}",
                lambda: super(Between, self).perform_request(method, target, *args, **options),
            )

    return Elasticsearch(url, node_class=Between, max_retries=0)


def with_bulk_answers(url: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Elasticsearch:
    """A client whose server's bulk answers pass through `change`."""

    def around(request: str, send: Callable[[], Any]) -> Any:
        answer = send()
        if "/_bulk" in request:
            answer = answer._replace(body=json.dumps(change(json.loads(answer.body))).encode())
        return answer

    return with_requests(url, around)


def resends(metrics: Metrics) -> float:
    """How often a loss was acted upon."""
    return metrics.registry.get_sample_value("sspp_index_resends_total") or 0.0


def _hits(client: Elasticsearch) -> list[dict[str, Any]]:
    refresh(client)
    found = client.search(index=ALIAS, query={"match_all": {}}, size=10_000, ignore_unavailable=True)
    return found["hits"]["hits"]
