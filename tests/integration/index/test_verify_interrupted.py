"""A comparison that ends early keeps nothing open on the search server, which would hold on to deleted indices."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from elasticsearch import Elasticsearch
from indexing import NOVEMBER, AddIndexed, with_requests
from rebuilding import StopAfter, StopError
from verifying import delete

from common.errors import SearchUnavailableError
from common.search.client import open_client
from infrastructure.cli.verify import _Look
from infrastructure.search import verify as verify_module
from infrastructure.search.repair import Repairer
from infrastructure.search.verify import MonthReport, Verifier


class PointsInTime:
    """Counts those that its client opens and closes."""

    def __init__(self, url: str) -> None:
        self.opened = self.closed = 0
        self.client = with_requests(url, self._pass)

    def _pass(self, request: str, send: Callable[[], Any]) -> Any:
        answer = send()
        if "/_pit" in request:
            closes = request.startswith("DELETE ")
            self.closed += closes
            self.opened += not closes
        return answer


@pytest.fixture
def points(elasticsearch_url: str) -> Iterator[PointsInTime]:
    points = PointsInTime(elasticsearch_url)
    with points.client:
        yield points


def test_when_it_is_interrupted_in_the_midst_of_a_page(
    connection: psycopg.Connection, add_indexed: AddIndexed, points: PointsInTime
) -> None:
    add_indexed(3)
    verifier = Verifier(connection, points.client, StopAfter(2))
    (task,) = verifier.plan()

    with pytest.raises(StopError) as interrupted:
        list(verifier.compare(task, MonthReport(task.label, task.index)))

    # While the traceback is there, which leads to all that was at work.
    assert interrupted.tb
    assert (points.opened, points.closed) == (1, 1)


def test_when_a_repair_fails_on_the_way(
    connection: psycopg.Connection,
    client: Elasticsearch,
    add_indexed: AddIndexed,
    points: PointsInTime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verify_module, "_SECOND_LOOK", 1)
    add_indexed(3)
    (newest,) = add_indexed(1, received_at=NOVEMBER + timedelta(seconds=1))
    delete(client, newest)
    verifier = Verifier(connection, points.client, StopAfter(100))

    with open_client("http://127.0.0.1:1") as nowhere, pytest.raises(SearchUnavailableError) as failed:
        _Look(1, [], 20).run(verifier, [], Repairer(connection, nowhere))

    assert failed.tb
    assert (points.opened, points.closed) == (1, 1)
