"""Copying a month's signals from PostgreSQL into the index that is being built for it."""

import time
from collections.abc import Sequence

from elasticsearch import Elasticsearch

from common.database.queries import Queries
from common.errors import SearchUnavailableError
from common.search.bulk import BulkOutcome, Failure, Written, write_documents
from common.search.documents import SignalRow, document
from common.search.failures import record_failures
from common.search.indices import ensure_indices
from infrastructure.database.connections import Connection
from infrastructure.search.patience import patiently
from infrastructure.search.rebuilds import Rebuild
from infrastructure.search.reindex_progress import Progress
from infrastructure.search.stored import StoredSignals

_sql = Queries(__package__, "reindex.sql")


class Copier:
    """Writes the documents of a month, from the newest signal to the oldest, `page_signals` at a time.

    `rate` is how many a second at most, None as many as the server takes. What the server is too busy for is sent
    again, what it refuses for its content is recorded in ``index_failures``.
    """

    def __init__(
        self,
        connection: Connection,
        client: Elasticsearch,
        progress: Progress,
        *,
        rate: float | None,
        page_signals: int,
    ) -> None:
        self._connection = connection
        self._stored = StoredSignals(connection)
        self._client = client
        self._progress = progress
        self._rate = rate
        self._page_signals = page_signals

    def copy(self, rebuild: Rebuild) -> int:
        """Write what is left, recording page by page how far that is; returns how many documents it was."""
        copied = 0
        started = time.monotonic()
        month = rebuild.indices.month
        for rows in self._stored.pages(month, self._page_signals, through=rebuild.copied_through):
            # The index stage writes new signals to this index too, so some of them may be there.
            self._write(rebuild, rows, skip_present=True)
            copied += len(rows)
            last = {"received_at": rows[-1].received_at, "signal_id": rows[-1].signal_id}
            self._connection.execute(_sql.advance_rebuild, {"copied": len(rows), **last, **rebuild.key})
            self._progress.advance(len(rows))
            if self._rate:
                time.sleep(max(0.0, started + copied / self._rate - time.monotonic()))
        return copied

    def copy_first(self, rebuild: Rebuild) -> Written | None:
        """Write the first page again; returns what the new index says of it, None if it took nothing.

        Its documents are the newest then, so while the server has them it has lost nothing that was copied before.
        """
        rows = next(self._stored.pages(rebuild.indices.month, self._page_signals), [])
        return self._write(rebuild, rows, skip_present=False)

    def _write(self, rebuild: Rebuild, rows: Sequence[SignalRow], *, skip_present: bool) -> Written | None:
        """Write the documents of these signals, however long that takes."""
        target = rebuild.target
        left = [document(row, target) for row in rows]
        refused: dict[str, Failure] = {}

        def send() -> BulkOutcome:
            nonlocal left
            ensure_indices(self._client, rebuild.indices)
            outcome = write_documents(self._client, left, skip_present=skip_present)
            refused.update(outcome.refused)
            left = [each for each in left if each.id in outcome.retry]
            if left:
                # Its status, not its reason, which may quote what people wrote.
                status = outcome.retry[left[0].id].status
                raise SearchUnavailableError(
                    f"Elasticsearch did not take {len(left)} documents ({status or 'no answer'})"
                )
            return outcome

        outcome = patiently(self._progress, send)
        record_failures(self._connection, refused, {row.signal_id: row.tenant_id for row in rows})
        return outcome.written.get(target)
