"""What the tests of people's data share: events of some customers, and the platform's stages to work on them."""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from elasticsearch import Elasticsearch
from movable_clock import MovableClock

from common.search.indices import refresh
from common.search.template import ALIAS
from common.services import Services
from worker.stages import Stages

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=1)
TENANT, OTHER_TENANT = 7, 8
# In all that is about the customer who is to be erased, and in nothing else.
MARK = "zanzibar"


def event(event_id: str, customer: str = MARK, kind: str = "purchase", **data: Any) -> bytes:
    data = data or {"amount": "10.00", "currency": "USD", "note": f"of {customer}"}
    return json.dumps(
        {"event_id": event_id, "event_type": kind, "customer_id": customer, "data": data}
    ).encode()


@dataclass
class People:
    """The API with an administrator's key of `TENANT`, and the stages of a worker, all on real servers."""

    pipeline: Any
    api: httpx.Client
    clock: MovableClock[datetime]
    search: Elasticsearch

    def services(self, search: Elasticsearch | None = None) -> Services:
        return replace(self.pipeline.services(), search=search or self.search)

    def stage(self, queue: str = "maintenance", search: Elasticsearch | None = None) -> Any:
        return Stages(self.services(search)).build(queue, "test")

    def send(self, *raws: bytes, tenant: int = TENANT, received_at: datetime = NOON) -> None:
        """Events that are stored and indexed."""
        self.pipeline.push(*raws, tenant=tenant, received_at=received_at)
        self.pipeline.drain()
        self.index()

    def index(self) -> None:
        stage = self.stage("index")
        while stage.step(0):
            pass
        refresh(self.search)

    def ask_to_erase(self, customer: str = MARK, at: datetime = LATER) -> str:
        """Returns the path of the receipt."""
        self.clock.now = at
        answer = self.api.delete(f"/v1/customers/{customer}")
        assert answer.status_code == 202, answer.text
        return answer.headers["Location"]

    def receipt(self, path: str) -> dict[str, Any]:
        answer = self.api.get(path)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def work(self, steps: int = 30, search: Elasticsearch | None = None) -> None:
        """As many steps as there are to do now, up to `steps`."""
        stage = self.stage(search=search)
        for _ in range(steps):
            if not stage.step(0):
                break

    def erase(self, customer: str = MARK, at: datetime = LATER) -> dict[str, Any]:
        """Returns the receipt, once it is done."""
        path = self.ask_to_erase(customer, at)
        self.work()
        receipt = self.receipt(path)
        assert receipt["status"] == "done", receipt
        return receipt

    def documents(self) -> dict[str, dict[str, Any]]:
        """All documents that search finds, by id."""
        refresh(self.search)
        found = self.search.search(index=ALIAS, size=1000, ignore_unavailable=True)
        return {hit["_id"]: hit["_source"] for hit in found["hits"]["hits"]}

    def count(self, table: str, customer: str = MARK, tenant: int = TENANT) -> int:
        found = self.pipeline.rows(
            f"SELECT count(*) FROM {table} WHERE tenant_id = %(tenant)s AND customer_id = %(customer)s",
            tenant=tenant,
            customer=customer,
        )
        return int(found[0]["count"])

    def dropped(self, reason: str) -> float:
        """How many events the workers of this test dropped."""
        found = self.pipeline.metrics.registry.get_sample_value(
            "sspp_events_dropped_total", {"reason": reason}
        )
        return found or 0.0

    def everything(self) -> str:
        """All rows of all tables, as text."""
        tables = self.pipeline.rows(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1"
        )
        return "\n".join(
            str(row["found"])
            for table in tables
            for row in self.pipeline.rows(
                f"SELECT ({table['relname']}.*)::text AS found FROM {table['relname']}"
            )
        )
