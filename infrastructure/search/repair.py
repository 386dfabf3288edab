"""Making the index what PostgreSQL says, document by document."""

from collections.abc import Sequence
from datetime import date

from elasticsearch import Elasticsearch

from common.errors import SearchUnavailableError
from common.search.bulk import write_documents
from common.search.client import translated_errors
from common.search.failures import forget_failures, record_failures
from common.search.generations import share_generations, transaction_check
from common.search.indices import Router, ensure_indices
from infrastructure.database.connections import Connection
from infrastructure.search.stored import StoredSignals
from infrastructure.search.verify import Difference


class Repairer:
    """Writes what is missing, stale or was refused, and deletes what is extra.

    Args:
        connection: in autocommit mode.
        client: from `open_client`.
    """

    def __init__(self, connection: Connection, client: Elasticsearch) -> None:
        self._connection = connection
        self._client = client
        self._stored = StoredSignals(connection)

    def repair(self, month: date, differences: Sequence[Difference]) -> None:
        """Do what these differences of one index need. What Elasticsearch does not take goes on to differ.

        Raises:
            SearchUnavailableError: Elasticsearch is away or busy; some may be repaired.
            DatabaseUnavailableError: PostgreSQL is away or busy; some may be repaired.
        """
        if any(each.kind == "hidden" for each in differences):
            with self._connection.transaction():
                ensure_indices(self._client, share_generations(self._connection).of_month(month))
        self._delete([each for each in differences if each.kind == "extra"])
        self._write(
            month, [each.signal_id for each in differences if each.kind != "extra" and each.signal_id]
        )

    def _write(self, month: date, signal_ids: Sequence[str]) -> None:
        if not signal_ids:
            return
        # As the index stage does it, so that a rebuild that goes on meanwhile gets them too, and an erasure waits.
        with self._connection.transaction():
            router = Router(self._client, share_generations(self._connection))
            rows = self._stored.find(month, signal_ids)
            documents = (made for row in rows.values() for made in router.documents(row))
            outcome = write_documents(self._client, documents, check=transaction_check(self._connection))
            tenants = {row.signal_id: row.tenant_id for row in rows.values()}
            forget_failures(self._connection, outcome.ok, tenants.values())
            record_failures(self._connection, outcome.refused, tenants)
        if outcome.away:
            raise SearchUnavailableError(f"Elasticsearch went away during the repair: {outcome.away.reason}")

    @translated_errors()
    def _delete(self, extra: Sequence[Difference]) -> None:
        if not extra:
            return
        # With the version that the document has: a deletion without any would count as a newer one, and the document,
        # should it come back within a minute, as outdated.
        self._client.bulk(
            operations=[
                {
                    "delete": {
                        "_index": each.index,
                        "_id": each.signal_id,
                        "version": each.version,
                        "version_type": "external_gte",
                    }
                }
                for each in extra
            ]
        )
