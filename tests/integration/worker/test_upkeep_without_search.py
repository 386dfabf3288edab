"""Upkeep as a job of the maintenance queue, while one of its stores is away."""

from types import SimpleNamespace
from typing import Any

import pytest
from ingest_pipeline import NOON, IngestPipeline

from worker import jobs


def test_while_search_is_away_expired_rows_go_all_the_same(
    pipeline: IngestPipeline, api_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSPP_RETENTION_MONTHS", "3")
    # Of this pipeline's services search is one that nobody serves.
    worker = SimpleNamespace(services=pipeline.services(), stop_requested=lambda: False)
    monkeypatch.setattr(jobs, "current_worker", lambda: worker)
    old = NOON.replace(month=10)
    api_store.event(7, "old", received_at=old)
    api_store.event(7, "new", received_at=NOON)
    api_store.execute("UPDATE tenants SET retention_days = 14 WHERE tenant_id = 7")

    done = jobs.upkeep()

    assert "usage_folded" in done
    assert api_store.execute("SELECT event_id FROM events") == [("new",)]
    assert api_store.execute("SELECT event_id FROM signals") == [("new",)]
