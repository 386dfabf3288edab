"""Whether an id is somebody else's or nobody's cannot be told by the time that an answer takes."""

import time
from collections.abc import Mapping
from statistics import quantiles
from typing import Any, LiteralString

import httpx
import pytest
from sending import bearer
from victims import SCOPES, Operation, Victim, operations

from api.database.fetching import Row, fetch_one

ROUNDS = 40
ATTEMPTS = 5
# Of the same work, in turns. One more look into a store before the answer is made costs more.
MOST_RATIO = 1.2


def seconds(client: httpx.Client, operation: Operation, url: str) -> float:
    began = time.perf_counter()
    answer = client.request(operation.method, url, json=operation.body())
    took = time.perf_counter() - began
    assert answer.status_code == 404, (operation.method, url, answer.text)
    return took


def ratio(client: httpx.Client, operation: Operation, victim: Victim) -> float:
    """How long it takes to answer for somebody's id, compared with nobody's, by requests in turns.

    Of the faster ones: what else the machine does makes none faster.
    """
    foreign, nobodys = operation.url(victim), operation.url_of_nobody()
    pairs = []
    for number in range(ROUNDS + 5):
        # Who comes second finds things warm: each does as often as the other.
        if number % 2:
            pairs.append((seconds(client, operation, foreign), seconds(client, operation, nobodys)))
        else:
            pairs.append((seconds(client, operation, nobodys), seconds(client, operation, foreign))[::-1])
    somebodys, of_nobody = (quantiles(each, n=4)[0] for each in zip(*pairs[5:], strict=True))
    return somebodys / of_nobody


def most_alike(client: httpx.Client, operation: Operation, victim: Victim) -> float:
    """The first `ratio` that is within bounds, else the last one: what disturbs one measurement spares another."""
    for _ in range(ATTEMPTS):
        found = ratio(client, operation, victim)
        if 1 / MOST_RATIO < found < MOST_RATIO:
            break
    return round(found, 3)


def test_somebodys_id_takes_as_long_as_nobodys(
    environment: dict[str, str], api_serving: Any, api_store: Any, victim: Victim, record_property: Any
) -> None:
    tenant_id = api_store.tenant("mallory-ltd")
    with api_serving(environment) as client:
        client.headers.update(bearer(api_store.key(tenant_id, *SCOPES)))
        asked = [each for each in operations(client) if each.parameters and not each.is_own_matter]
        found = [
            each
            for each in asked
            if client.request(each.method, each.url_of_nobody(), json=each.body()).status_code == 404
        ]
        assert len(found) >= 15
        ratios = {f"{each.method} {each.path}": most_alike(client, each, victim) for each in found}
    record_property("ratios", ratios)
    assert all(1 / MOST_RATIO < each < MOST_RATIO for each in ratios.values()), ratios


def test_one_more_look_for_somebodys_id_would_be_noticed(
    environment: dict[str, str],
    api_serving: Any,
    api_store: Any,
    victim: Victim,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def look_twice(database: Any, query: LiteralString, parameters: Mapping[str, object]) -> Row | None:
        if str(parameters.get("signal_id")) == victim.ids["signal_id"]:
            await fetch_one(database, query, parameters)
        return await fetch_one(database, query, parameters)

    monkeypatch.setattr("api.database.pages.fetch_one", look_twice)
    tenant_id = api_store.tenant("mallory-ltd")
    with api_serving(environment, api_store.key(tenant_id, "read")) as client:
        operation = Operation("get", "/v1/signals/{signal_id}", {})
        assert max(ratio(client, operation, victim) for _ in range(ATTEMPTS)) > MOST_RATIO
