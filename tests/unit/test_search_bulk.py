"""What becomes of each document of one request."""

from typing import Any

import pytest
from scripted_search import CREATED, answering, documents, item

from common.search.bulk import Failure, write_documents
from common.search.documents import Document


@pytest.mark.parametrize("status", [401, 403, 408, 429, 500, 503])
def test_an_item_that_was_put_off_is_to_be_sent_again(status: int) -> None:
    outcome = write_documents(answering(CREATED, item(status), CREATED).client, documents(3))

    assert outcome.ok == {"id-0", "id-2"}
    assert outcome.retry == {"id-1": Failure(status, "some_exception: why")}
    assert not outcome.refused
    assert outcome.away is None


@pytest.mark.parametrize(
    ("status", "error_type"),
    [(404, "index_not_found_exception"), (400, "strict_dynamic_mapping_exception")],
)
def test_an_item_that_fails_for_the_servers_state_or_our_mapping_is_to_be_sent_again(
    status: int, error_type: str
) -> None:
    outcome = write_documents(answering(item(status, error_type)).client, documents(1))

    assert set(outcome.retry) == {"id-0"}


def test_an_item_that_is_refused_for_its_content_is_named_with_status_and_all_reasons() -> None:
    cause = {"type": "number_format_exception", "reason": "For input string"}
    outcome = write_documents(
        answering(CREATED, item(400, "document_parsing_exception", caused_by=cause)).client, documents(2)
    )

    reason = "document_parsing_exception: why; number_format_exception: For input string"
    assert outcome.refused == {"id-1": Failure(400, reason)}
    assert outcome.ok == {"id-0"}


def test_a_newer_document_in_the_index_counts_as_written() -> None:
    outcome = write_documents(answering(item(409, "version_conflict_engine_exception")).client, documents(1))

    assert outcome.ok == {"id-0"}


def test_an_answer_that_lacks_items_puts_off_the_whole_request() -> None:
    outcome = write_documents(answering(CREATED).client, documents(2))

    assert set(outcome.retry) == {"id-0", "id-1"}
    assert outcome.away == Failure(None, "answer for 1 of 2 documents")


@pytest.mark.parametrize(
    ("items", "fate"),
    [
        ([CREATED, CREATED], "ok"),
        ([CREATED, item(400)], "refused"),
        ([item(400), CREATED], "refused"),
        ([CREATED, item(429)], "retry"),
        ([item(400), item(429)], "retry"),
    ],
)
def test_a_document_for_two_indices_fares_as_the_worse_of_both(
    items: list[dict[str, Any]], fate: str
) -> None:
    twice = [Document(index, "id-0", b"{}") for index in ("signals-2026-11", "signals-2026-11-g2")]

    outcome = write_documents(answering(*items).client, twice)

    fates = {"ok": outcome.ok, "refused": outcome.refused, "retry": outcome.retry}
    assert {name: list(ids) for name, ids in fates.items() if ids} == {fate: ["id-0"]}
