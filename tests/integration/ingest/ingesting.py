"""What the tests of the ingest stage share: purchases to be stored, and a store with a fault."""

import json
from datetime import UTC, datetime
from typing import Any

from psycopg_pool import ConnectionPool

from common.queue.streams import lane_of
from worker.ingest.stage import IngestStage
from worker.store.batch import Store

# Whose events a pipeline pushes, and when they are received, unless told otherwise.
TENANT = 7
LANE = lane_of(TENANT)
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def purchase(event_id: str, *, customer: str = "c1", amount: str = "10.00", **envelope: Any) -> bytes:
    event = {
        "event_id": event_id,
        "event_type": "purchase",
        "customer_id": customer,
        "occurred_at": "1997-01-01T00:00:00Z",
        "data": {"amount": amount, "currency": "USD"},
    }
    return json.dumps(event | envelope).encode()


def purchases(count: int) -> list[bytes]:
    """Events e0, e1 and so on, of one customer."""
    return [purchase(f"e{number}") for number in range(count)]


def drain(stage: IngestStage) -> int:
    """Let `stage` handle what waits, as a drain of its own would; returns how many events it handled."""
    handled = 0
    while count := stage.step(0):
        handled += count
    return handled


class StoreFailingFor(Store):
    """Fails whenever one certain event is among those to be stored."""

    def __init__(self, pool: ConnectionPool, event_id: str, error: type[Exception]) -> None:
        super().__init__(pool)
        self._event_id = event_id
        self._error = error

    def write(self, events: Any, refused: Any) -> Any:
        if any(valid.event.event_id == self._event_id for valid in events):
            raise self._error("a fault that was asked for")
        return super().write(events, refused)
