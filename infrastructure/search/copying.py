"""Copying a month's signals from PostgreSQL into the index that is being built for it."""

import time

from elasticsearch import Elasticsearch

from common.database.queries import Queries
from common.errors import SearchUnavailableError
from common.search.bulk import Failure, Written, write_documents
from common.search.documents import SignalRow, document
from common.search.failures import record_failures
from common.search.generations import share_generations, transaction_check
from common.search.indices import ensure_indices
from infrastructure.database.connections import Connection
from infrastructure.search.patience import patiently
from infrastructure.search.rebuilds import Rebuild
from infrastructure.search.reindex_progress import Progress
from infrastructure.search.stored import Position, StoredSignals

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
        through = rebuild.copied_through
        # The index stage writes new signals to this index too, so some of them may be there.
        while rows := self._copy_page(rebuild, through, skip_present=True)[0]:
            copied += len(rows)
            through = Position(rows[-1].received_at, rows[-1].signal_id)
            place = {"received_at": through.received_at, "signal_id": through.signal_id}
            self._connection.execute(_sql.advance_rebuild, {"copied": len(rows), **place, **rebuild.key})
            self._progress.advance(len(rows))
            if self._rate:
                time.sleep(max(0.0, started + copied / self._rate - time.monotonic()))
        return copied

    def copy_first(self, rebuild: Rebuild) -> Written | None:
        """Write the first page again; returns what the new index says of it, None if it took nothing.

        Its documents are the newest then, so while the server has them it has lost nothing that was copied before.
        """
        return self._copy_page(rebuild, None, skip_present=False)[1]

    def _copy_page(
        self, rebuild: Rebuild, through: Position | None, *, skip_present: bool
    ) -> tuple[list[SignalRow], Written | None]:
        """Write the page after `through`, however long that takes; returns it, and what the new index says of it.

        Each attempt reads it anew, in the transaction that writes: who deletes signals waits for the end of that, and
        then deletes their documents.
        """
        target = rebuild.target
        refused: dict[str, Failure] = {}
        taken: set[str] = set()

        def send() -> tuple[list[SignalRow], Written | None]:
            with self._connection.transaction():
                share_generations(self._connection)
                rows = self._stored.page(rebuild.indices.month, self._page_signals, through=through)
                if not rows:
                    return rows, None
                ensure_indices(self._client, rebuild.indices)
                left = [document(row, target) for row in rows if row.signal_id not in taken]
                check = transaction_check(self._connection)
                outcome = write_documents(self._client, left, skip_present=skip_present, check=check)
                refused.update(outcome.refused)
                taken.update(outcome.ok, outcome.refused)
                if outcome.retry:
                    # Its status, not its reason, which may quote what people wrote.
                    status = next(iter(outcome.retry.values())).status
                    raise SearchUnavailableError(
                        f"Elasticsearch did not take {len(outcome.retry)} documents ({status or 'no answer'})"
                    )
                tenants = {row.signal_id: row.tenant_id for row in rows}
                present = {each: why for each, why in refused.items() if each in tenants}
                record_failures(self._connection, present, tenants)
                return rows, outcome.written.get(target)

        return patiently(self._progress, send)
