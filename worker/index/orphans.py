"""Documents of outbox rows whose signals PostgreSQL no longer has: erased or expired between storing and indexing."""

from collections.abc import Collection, Container, Sequence
from contextlib import suppress

from elasticsearch import ApiError, Elasticsearch
from psycopg import Connection

from common.errors import SearchUnavailableError
from common.search.bulk import BulkOutcome, Failure
from common.search.indices import list_indices
from common.search.removal import remove_orphans
from common.search.template import month_of
from worker.index.outbox import OutboxRow


def account_for_missing(
    connection: Connection,
    client: Elasticsearch,
    rows: Sequence[OutboxRow],
    stored: Collection[str],
    outcome: BulkOutcome,
) -> None:
    """Delete what is left of signals that are gone; what cannot be deleted yet is entered into `outcome` as put off.

    Args:
        connection: in the transaction that holds the locks of `rows`.
        client: from `open_client`.
        rows: the batch.
        stored: the ids of all signals of `rows` that PostgreSQL still has.
        outcome: of the batch's writing.
    """
    if len(stored) == sum(len(row.signal_ids) for row in rows):
        return
    gone = {signal_id for row in rows for signal_id in row.signal_ids}.difference(stored)
    if not gone:
        return
    if not outcome.away:
        # Whatever it is that one month's index does not take, it holds up nobody else.
        with suppress(SearchUnavailableError, ApiError):
            remove_orphans_of(connection, client, rows, stored=stored)
            return
    outcome.retry.update(
        dict.fromkeys(gone, Failure(None, "its signal is gone, and perhaps not its document"))
    )


def remove_orphans_of(
    connection: Connection, client: Elasticsearch, rows: Sequence[OutboxRow], *, stored: Container[str] = ()
) -> None:
    """Delete what an attempt that died may have written of `rows`, or may be about to, and PostgreSQL no longer has.

    Such an attempt had read the signals, and its transaction ended before its request: so who erased them did not wait
    for it, and found no document yet.

    Args:
        connection: in a transaction.
        client: from `open_client`.
        rows: not marked as indexed yet, or not by this stage.
        stored: ids of those that need no look at PostgreSQL.

    Raises:
        SearchUnavailableError: the server is away or busy; some may be deleted.
        elasticsearch.ApiError: it refuses what is asked.
    """
    names = [(name, month) for name in list_indices(client) if (month := month_of(name))]
    for row in rows:
        first = row.received_from.date().replace(day=1)
        indices = [name for name, month in names if first <= month <= row.received_until.date()]
        suspects = [
            (index, signal_id) for signal_id in row.signal_ids if signal_id not in stored for index in indices
        ]
        if suspects:
            remove_orphans(connection, client, row.tenant_id, suspects)
