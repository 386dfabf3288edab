"""Retention of single tenants while others hold what it is about."""

import psycopg
import pytest
from people import NOON, TENANT, People, event

from common.errors import DatabaseUnavailableError
from worker.maintenance import retention
from worker.maintenance.retention import expire_tenants


def test_a_refusal_that_a_batch_holds_is_left_and_all_others_go(
    people: People, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_WAIT_SECONDS", 0.0)
    people.send(event("held", kind="visit"), event("other", kind="visit"), received_at=NOON.replace(month=9))
    with psycopg.connect(database_url) as batch:
        batch.execute("UPDATE tenants SET retention_days = 30 WHERE tenant_id = %s", (TENANT,))
        batch.commit()
        batch.execute("UPDATE rejected_events SET rejected_at = now() WHERE event_id = 'held'")

        # Documents wait for the batch; rows do not.
        with pytest.raises(DatabaseUnavailableError, match="expired documents wait"):
            expire_tenants(people.pipeline.pool, people.search, people.clock)
        assert people.pipeline.rows("SELECT event_id FROM rejected_events") == [{"event_id": "held"}]

    expire_tenants(people.pipeline.pool, people.search, people.clock)
    assert people.count("rejected_events") == 0
