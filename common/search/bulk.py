"""Writing documents in bulk, with an account of every single one of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from elasticsearch import ApiError, Elasticsearch, TransportError

from common.search.client import is_passing
from common.search.documents import DOCUMENT_VERSION, Document

# About 500 documents. Larger requests made the embedded server slower, and there is less to overlap with.
MAX_REQUEST_BYTES = 512 * 1024

_MAX_REASON_CHARACTERS = 1000

# Item errors below 500 that blame the server's state or our mapping, never the document's content: recorded as
# refusals they would empty the queue into the list of failures, while the cure lies elsewhere.
_PASSING_TYPES = frozenset(
    {
        "cluster_block_exception",
        "index_closed_exception",
        "index_not_found_exception",
        "strict_dynamic_mapping_exception",
    }
)


class Failure(NamedTuple):
    """Why a document was not written: HTTP status (None without an answer) and the server's reason."""

    status: int | None
    reason: str


class Written(NamedTuple):
    """The ``_seq_no``s that the documents written to one index got, and which of them got the highest."""

    lowest: int
    highest: int
    highest_id: str


@dataclass(frozen=True, slots=True)
class BulkOutcome:
    """What became of each document, by its id; every id given is in exactly one of the three.

    `ok` is in the index, in this version or a newer one. `retry` was not written for a passing reason: send it
    again later. `refused` was refused for its content and would be again. `away` is why a request failed as a
    whole, and with it all that came after; None if the server answered for each document. `written` has an entry
    for each index that took a document, in place of an older or an equal version included.
    """

    ok: set[str] = field(default_factory=set)
    retry: dict[str, Failure] = field(default_factory=dict)
    refused: dict[str, Failure] = field(default_factory=dict)
    away: Failure | None = None
    written: dict[str, Written] = field(default_factory=dict)


def write_documents(
    client: Elasticsearch,
    documents: Iterable[Document],
    *,
    max_request_bytes: int = MAX_REQUEST_BYTES,
    skip_present: bool = False,
    check: Callable[[], object] = lambda: None,
) -> BulkOutcome:
    """Write `documents` with as many bulk requests as their size needs, and account for each of them.

    Writing the same document again is no conflict; an older version never replaces a newer one. `documents` is
    read while the server works on what was read before, so memory holds two requests. Once a request as a whole
    fails, the rest is not sent, so a server that is away costs one timeout.

    Args:
        client: from `open_client`.
        documents: may hold an id twice, in different indices; it is then accounted for by what went worst.
        max_request_bytes: aimed size of a request; a larger single document goes alone. A server that finds a
            request too large (413) gets it in halves.
        skip_present: ask first, and do not write what the index holds in this version or a newer one. For documents
            that are sent again and most likely there: to look is cheap, to replace a document is not.
        check: called right before each request that writes; what it raises ends the writing, once the request that is
            under way is over. For who may write only while a transaction lasts (`transaction_check`).

    Returns:
        The outcome. Nothing is raised for what the server answers or fails to answer.
    """
    outcome = BulkOutcome()
    away: Failure | None = None
    send = _send_absent if skip_present else _send
    sending: Future[Failure | None] = Future()
    sending.set_result(None)
    with ThreadPoolExecutor(1, thread_name_prefix="bulk") as sender:
        for request in _requests(documents, max_request_bytes):
            away = away or sending.result()
            if away is None:
                check()  # here and not in `_send`, where it would wait for the reading of the next documents
                # With this thread's context, of which the request is a part.
                sending = sender.submit(copy_context().run, send, client, request, outcome, check)
            else:
                outcome.retry.update((document.id, away) for document in request)
        away = away or sending.result()
    # Of an id's several documents the worst counts: it is done when all of them are.
    outcome.ok.difference_update(outcome.retry, outcome.refused)
    for repeated in outcome.retry.keys() & outcome.refused.keys():
        del outcome.refused[repeated]
    return replace(outcome, away=away)


def _requests(documents: Iterable[Document], max_bytes: int) -> Iterator[list[Document]]:
    request: list[Document] = []
    size = 0
    for document in documents:
        line_bytes = len(document.source) + 150  # its action line is about that long
        if request and size + line_bytes > max_bytes:
            yield request
            request, size = [], 0
        request.append(document)
        size += line_bytes
    if request:
        yield request


def _send_absent(
    client: Elasticsearch, request: Sequence[Document], outcome: BulkOutcome, check: Callable[[], object]
) -> Failure | None:
    """Like `_send`, but what is there already is only entered into `outcome`."""
    try:
        answer = client.mget(
            docs=[{"_index": document.index, "_id": document.id} for document in request],
            source=False,
            filter_path=["docs._id", "docs.found", "docs._version"],
        )
    except TransportError as error:
        failure = Failure(None, type(error).__name__)
        outcome.retry.update((document.id, failure) for document in request)
        return failure
    except ApiError:  # whatever the reason, writing them will tell
        check()
        return _send(client, request, outcome, check)
    absent = []
    for document, found in zip(request, answer.body["docs"], strict=True):
        if found.get("found") and found["_version"] >= DOCUMENT_VERSION:
            outcome.ok.add(document.id)
        else:
            absent.append(document)
    if not absent:
        return None
    check()
    return _send(client, absent, outcome, check)


def _send(
    client: Elasticsearch, request: Sequence[Document], outcome: BulkOutcome, check: Callable[[], object]
) -> Failure | None:
    """Send one request and enter its items into `outcome`; the failure, if the request failed as a whole."""
    try:
        answer = client.bulk(
            operations=_body(request),  # type: ignore[arg-type]  # bytes pass through, untyped
            filter_path=["items.*.status", "items.*.error", "items.*._seq_no"],
        )
    except TransportError as error:
        failure = Failure(None, type(error).__name__)
    except ApiError as error:
        if error.meta.status == 413:
            return _send_halves(client, request, outcome, check)
        # Whatever the status: a document is refused by the answer to its own item and in no other way.
        failure = Failure(error.meta.status, str(error)[:_MAX_REASON_CHARACTERS])
    else:
        items = answer.body.get("items", [])
        if len(items) == len(request):
            for document, item in zip(request, items, strict=True):
                _enter(outcome, document, item["index"])
            return None
        failure = Failure(None, f"answer for {len(items)} of {len(request)} documents")
    outcome.retry.update((document.id, failure) for document in request)
    return failure


def _send_halves(
    client: Elasticsearch, request: Sequence[Document], outcome: BulkOutcome, check: Callable[[], object]
) -> Failure | None:
    if len(request) == 1:
        outcome.refused[request[0].id] = Failure(413, "larger than the server takes in one request")
        return None
    middle = len(request) // 2
    check()
    failure = _send(client, request[:middle], outcome, check)
    if failure is None:
        check()
        return _send(client, request[middle:], outcome, check)
    outcome.retry.update((document.id, failure) for document in request[middle:])
    return failure


def _body(request: Sequence[Document]) -> bytes:
    # Names and ids are of our making (months and uuids): nothing in them needs escaping.
    return b"".join(
        b'{"index":{"_index":"%b","_id":"%b","version":%d,"version_type":"external_gte"}}\n%b\n'
        % (document.index.encode(), document.id.encode(), DOCUMENT_VERSION, document.source)
        for document in request
    )


def _enter(outcome: BulkOutcome, document: Document, item: dict[str, Any]) -> None:
    status = int(item["status"])
    if status < 300 and "_seq_no" in item:
        _note(outcome.written, document, int(item["_seq_no"]))
    if status < 300 or status == 409:  # 409: the index holds a newer version
        outcome.ok.add(document.id)
        return
    error = item.get("error") or {}
    failure = Failure(status, _reason(error))
    passing = is_passing(status) or error.get("type") in _PASSING_TYPES
    (outcome.retry if passing else outcome.refused)[document.id] = failure


def _note(written: dict[str, Written], document: Document, seq_no: int) -> None:
    before = written.get(document.index)
    if before is None:
        written[document.index] = Written(seq_no, seq_no, document.id)
    elif seq_no > before.highest:
        written[document.index] = before._replace(highest=seq_no, highest_id=document.id)
    elif seq_no < before.lowest:
        written[document.index] = before._replace(lowest=seq_no)


def _reason(error: dict[str, Any]) -> str:
    """The error's type and reason, and those of its causes, in one line."""
    parts = []
    cause: Any = error
    while isinstance(cause, dict):
        parts.append(f"{cause.get('type', 'error')}: {cause.get('reason') or 'no reason given'}")
        cause = cause.get("caused_by")
    return "; ".join(parts)[:_MAX_REASON_CHARACTERS]
