"""What the bulk writer and the template rely on, asked of a real server (embedded, or ELASTICSEARCH_URL)."""

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from common.errors import SearchUnavailableError
from common.search.bulk import write_documents
from common.search.client import open_async_client, open_client, translated_errors
from common.search.documents import DOCUMENT_VERSION, Document, SignalRow, document
from common.search.generations import Generations, MonthIndices
from common.search.indices import drop_unused_indices, ensure_indices, newest_generation
from common.search.template import ALIAS, TEMPLATE, ensure_template

INDEX = "signals-2026-11"
NOVEMBER = MonthIndices(date(2026, 11, 1))
ROW = SignalRow(
    tenant_id=7,
    signal_id="01234567-89ab-8def-8123-456789abcd00",
    event_id="order-1",
    event_type="purchase",
    customer_id="07592",
    signal_type="revenue",
    signal_score=0.5,
    occurred_at=datetime(1997, 1, 1, tzinfo=UTC),
    received_at=datetime(2026, 11, 21, 10, 30, 0, 123456, tzinfo=UTC),
    trace_id=None,
    amount=Decimal("12.50"),
    currency="USD",
    data='{"amount": 12.50, "note": "a blue bicycle", "at": "not a date", "deep": [{"x": null}]}',
)


@pytest.fixture
def client(elasticsearch_url: str) -> Iterator[Elasticsearch]:
    with open_client(elasticsearch_url) as client:
        ensure_indices(client, NOVEMBER)
        yield client


def found(client: Elasticsearch, query: dict[str, Any]) -> list[str]:
    client.indices.refresh(index=ALIAS)
    hits = client.search(index=ALIAS, query=query)["hits"]["hits"]
    return sorted(hit["_id"] for hit in hits)


def variant(number: int, **changes: Any) -> Document:
    return document(ROW._replace(signal_id=f"01234567-89ab-8def-8123-456789abcd{number:02x}", **changes))


def with_field(original: Document, name: str, value: object) -> Document:
    text = json.dumps(json.loads(original.source) | {name: value})
    return Document(original.index, original.id, text.encode())


def test_a_document_is_found_by_its_words_and_fields_and_keeps_its_source(client: Elasticsearch) -> None:
    written = document(ROW)

    assert write_documents(client, [written]).ok == {written.id}

    assert client.get(index=INDEX, id=written.id)["_source"] == json.loads(written.source)
    for query in (
        {"match": {"text": "bicycle"}},
        {"match": {"text": "07592"}},
        {"term": {"tenant_id": 7}},
        {"term": {"customer_id": "07592"}},
        {"range": {"occurred_at": {"gte": "1997-01-01T00:00:00Z", "lt": "1997-01-02T00:00:00Z"}}},
        {"range": {"signal_score": {"gte": 0.5}}},
    ):
        assert found(client, query) == [written.id], query


@pytest.mark.parametrize(
    "occurred_at",
    [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)],
)
def test_an_event_of_any_year_is_written(client: Elasticsearch, occurred_at: datetime) -> None:
    written = variant(1, occurred_at=occurred_at)

    assert write_documents(client, [written]).ok == {written.id}


def test_ids_of_the_greatest_length_are_written(client: Elasticsearch) -> None:
    longest = "\N{GRINNING FACE}" * 200
    written = variant(1, event_id=longest, customer_id=longest, trace_id=longest)

    assert write_documents(client, [written]).ok == {written.id}


def test_a_document_may_name_its_data_as_no_other_does(client: Elasticsearch) -> None:
    shapes = ['{"x": 1}', '{"x": "one"}', '{"x": {"y": []}}', '{"x.y": 1, "": 2}', '{"x": [[1], "a"]}']
    batch = [variant(number, data=shape) for number, shape in enumerate(shapes)]

    assert write_documents(client, batch).ok == {each.id for each in batch}


def test_each_item_of_a_mixed_answer_is_accounted_for(client: Elasticsearch) -> None:
    newer, bad, strange, good = (variant(number) for number in range(4))
    client.index(
        index=INDEX,
        id=newer.id,
        document=json.loads(newer.source) | {"text": "newer"},
        version=DOCUMENT_VERSION + 1,
        version_type="external_gte",
    )
    bad = with_field(bad, "occurred_at", "the day before yesterday")
    strange = with_field(strange, "unheard_of", 1)

    outcome = write_documents(client, [newer, bad, strange, good])

    assert outcome.ok == {newer.id, good.id}
    assert outcome.refused[bad.id].status == 400
    assert "occurred_at" in outcome.refused[bad.id].reason
    assert set(outcome.retry) == {strange.id}
    assert client.get(index=INDEX, id=newer.id)["_source"]["text"] == "newer"


def test_writing_again_is_no_conflict_and_changes_nothing(client: Elasticsearch) -> None:
    batch = [variant(number) for number in range(5)]

    for _ in range(2):
        assert write_documents(client, batch, max_request_bytes=1000).ok == {each.id for each in batch}

    assert found(client, {"match_all": {}}) == sorted(each.id for each in batch)


def members(client: Elasticsearch) -> set[str]:
    return set(client.indices.get_alias(name=ALIAS))


def test_months_have_indices_of_their_own_behind_one_alias(client: Elasticsearch) -> None:
    for month in (1, 12):
        ensure_indices(client, MonthIndices(date(2026, month, 1)))

    assert members(client) == {"signals-2026-01", "signals-2026-11", "signals-2026-12"}


def test_an_index_that_is_being_built_answers_no_search(client: Elasticsearch) -> None:
    rebuilt = replace(NOVEMBER, rebuilding=2)
    ensure_indices(client, rebuilt)
    made = variant(1)

    write_documents(client, [Document(name, made.id, made.source) for name in rebuilt.names])

    assert members(client) == {INDEX}
    assert found(client, {"match_all": {}}) == [made.id]
    client.indices.refresh(index=f"{INDEX}-g2")
    assert client.count(index=f"{INDEX}-g2")["count"] == 1


def test_the_alias_moves_to_what_serves_now_and_the_rest_can_be_dropped(client: Elasticsearch) -> None:
    rebuilt = replace(NOVEMBER, rebuilding=2)
    ensure_indices(client, rebuilt)
    ensure_indices(client, MonthIndices(date(2026, 10, 1)))
    after = rebuilt.switched()

    assert drop_unused_indices(client, Generations([rebuilt])) == []
    ensure_indices(client, after)

    assert members(client) == {"signals-2026-10", "signals-2026-11-g2"}
    assert drop_unused_indices(client, Generations([after])) == [INDEX]
    assert drop_unused_indices(client, Generations([after])) == []
    # Not even if nothing is known of it: it answers searches.
    assert drop_unused_indices(client, Generations([])) == []
    assert members(client) == {"signals-2026-10", "signals-2026-11-g2"}


def test_the_newest_generation_is_the_highest_number_in_use(client: Elasticsearch) -> None:
    ensure_indices(client, replace(NOVEMBER, generation=9, rebuilding=10))

    assert newest_generation(client, NOVEMBER.month) == 10
    assert newest_generation(client, date(2026, 1, 1)) == 0


def test_no_search_sees_two_generations_or_none_while_the_alias_moves(client: Elasticsearch) -> None:
    rebuilt = replace(NOVEMBER, rebuilding=2)
    ensure_indices(client, rebuilt)
    write_documents(client, [Document(name, variant(1).id, variant(1).source) for name in rebuilt.names])
    client.indices.refresh(index=rebuilt.names)

    def move() -> None:
        for _ in range(50):
            ensure_indices(client, rebuilt.switched())
            ensure_indices(client, rebuilt)

    with ThreadPoolExecutor(1) as threads:
        moving = threads.submit(move)
        counts = {client.count(index=ALIAS)["count"]}
        while not moving.done():
            counts.add(client.count(index=ALIAS)["count"])
        moving.result()

    assert counts == {1}


def test_an_index_under_our_name_that_lacks_the_alias_gets_it(client: Elasticsearch) -> None:
    client.indices.delete_alias(index=INDEX, name=ALIAS)

    ensure_indices(client, NOVEMBER)

    assert members(client) == {INDEX}


def test_a_template_of_the_first_release_which_gave_the_alias_is_replaced(elasticsearch_url: str) -> None:
    with open_client(elasticsearch_url) as client:
        client.indices.put_index_template(
            name=TEMPLATE,
            index_patterns=[f"{ALIAS}-*"],
            priority=500,
            version=1,
            template={"aliases": {ALIAS: {}}},
        )
        client.indices.create(index=INDEX)

        ensure_indices(client, replace(NOVEMBER, rebuilding=2))

        assert members(client) == {INDEX}


def test_the_indices_may_be_ensured_by_many_at_once(elasticsearch_url: str) -> None:
    rebuilt = replace(NOVEMBER, rebuilding=2)
    with open_client(elasticsearch_url) as client, ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: ensure_indices(client, rebuilt), range(8)))

        assert members(client) == {INDEX}
        assert (
            client.indices.get_mapping(index=f"{INDEX}-g2")[f"{INDEX}-g2"]["mappings"]["dynamic"] == "strict"
        )


def test_the_template_may_be_ensured_by_many_at_once(elasticsearch_url: str) -> None:
    with open_client(elasticsearch_url) as client, ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: ensure_template(client), range(8)))

        assert client.indices.get_index_template(name=TEMPLATE)["index_templates"][0]["name"] == TEMPLATE


def test_a_server_that_is_away_puts_off_everything_and_raises_nothing(unserved_port: int) -> None:
    with open_client(f"http://127.0.0.1:{unserved_port}") as client:
        outcome = write_documents(client, [document(ROW)])

        assert outcome.away
        assert outcome.away.status is None
        assert outcome.retry == {ROW.signal_id: outcome.away}
        with pytest.raises(SearchUnavailableError):
            ensure_template(client)


def test_an_index_that_is_locked_puts_off_its_own_documents_and_no_others(client: Elasticsearch) -> None:
    october = variant(1, received_at=datetime(2026, 10, 1, tzinfo=UTC))
    november = variant(2, received_at=datetime(2026, 11, 1, tzinfo=UTC))
    client.indices.create(index="signals-2026-10", settings={"index.blocks.write": True})

    outcome = write_documents(client, [october, november])

    assert outcome.ok == {november.id}
    assert outcome.retry[october.id].status == 403
    assert outcome.away is None


def test_the_asynchronous_client_searches_and_says_when_the_server_is_away(
    client: Elasticsearch, elasticsearch_url: str, unserved_port: int
) -> None:
    write_documents(client, [document(ROW)])
    client.indices.refresh(index=ALIAS)

    async def count(url: str) -> int:
        async with open_async_client(url) as reader:
            with translated_errors():
                return int((await reader.count(index=ALIAS))["count"])

    assert asyncio.run(count(elasticsearch_url)) == 1
    with pytest.raises(SearchUnavailableError):
        asyncio.run(count(f"http://127.0.0.1:{unserved_port}"))
