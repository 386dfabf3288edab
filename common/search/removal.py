"""Removing documents whose signals PostgreSQL no longer has: of customers that were erased, of expired events."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import psycopg
from elasticsearch import Elasticsearch

from common.database.queries import Queries
from common.errors import SearchUnavailableError
from common.search.client import translated_errors
from common.search.indices import refresh
from common.search.listing import list_documents
from common.search.marks import move_marks
from common.search.template import ALIAS

_ALL_INDICES = f"{ALIAS}-*"

# Above any that a document is written with: a request of a dead writer that arrives late writes nothing any more. For
# a minute (index.gc_deletes), and whether or not there was a document to delete.
_REMOVED_VERSION = 2**53 - 1

_sql = Queries(__package__, "removal.sql")


def remove_documents(
    connection: psycopg.Connection[Any],
    client: Elasticsearch,
    tenant_id: int,
    filters: Sequence[Mapping[str, Any]],
) -> Counter[str]:
    """Delete a tenant's documents that pass all `filters` and whose signals are gone, from every index of ours.

    From those that are being built too. Nobody may have read the signals and still be about to write them: wait for
    such transactions first (`common.database.transactions`). May break off anywhere, and be repeated.

    Args:
        connection: in autocommit mode.
        client: from `open_client`.
        tenant_id: whose documents.
        filters: clauses of Elasticsearch's query language.

    Returns:
        How many were deleted of each customer.

    Raises:
        SearchUnavailableError: the server is away or busy; some may be deleted.
    """
    query = {"bool": {"filter": [{"term": {"tenant_id": tenant_id}}, *filters]}}
    removed = Counter[str]()
    while True:
        refresh(client, _ALL_INDICES)
        found = Counter[str]()
        for page in list_documents(client, _ALL_INDICES, query):
            customers = {(each.index_name, each.signal_id): each.customer_id for each in page}
            gone = remove_orphans(connection, client, tenant_id, list(customers))
            found.update(customers[each] for each in gone)
        if not found:  # and what lay between two pages, or in another index, is found by the next round
            break
        removed += found
    connection.execute(_sql.forget_orphaned_failures, {"tenant_id": tenant_id})
    return removed


def remove_orphans(
    connection: psycopg.Connection[Any],
    client: Elasticsearch,
    tenant_id: int,
    documents: Collection[tuple[str, str]],
) -> list[tuple[str, str]]:
    """Delete those of a tenant's `documents`, by index and id, whose signals are gone.

    What a dead writer's request may still write, too: name it, whether or not it is there yet.

    Returns:
        Those of `documents` that were there.

    Raises:
        SearchUnavailableError: the server is away or busy; some may be deleted.
    """
    signal_ids = sorted({signal_id for _, signal_id in documents})
    stored = connection.execute(_sql.list_stored, {"tenant_id": tenant_id, "signal_ids": signal_ids})
    gone = set(signal_ids) - {signal_id for (signal_id,) in stored}
    if not gone:
        return []
    move_marks(connection, client, gone)
    orphans = [each for each in documents if each[1] in gone]
    operations = [
        {
            "delete": {
                "_index": index,
                "_id": signal_id,
                "version": _REMOVED_VERSION,
                "version_type": "external_gte",
            }
        }
        for index, signal_id in orphans
    ]
    with translated_errors():
        answer = client.bulk(operations=operations, filter_path=["items.*.status"])
    statuses = [item["delete"]["status"] for item in answer.body.get("items", [])]
    failed = [status for status in statuses if status not in (200, 404)]
    if failed or len(statuses) < len(operations):
        raise SearchUnavailableError(
            f"Elasticsearch did not delete {len(failed)} documents ({failed[:1] or 'no answer'}); they are tried again"
        )
    return [each for each, status in zip(orphans, statuses, strict=True) if status == 200]
