"""The search index after a restore: it knows more, or less, than the database does."""

from contextlib import closing

from elasticsearch import Elasticsearch

from common.database.queries import Queries
from common.search.client import READ_TIMEOUT_SECONDS, translated_errors
from common.search.indices import list_indices
from common.search.template import generation_of, month_of
from infrastructure.database.connections import Connection
from infrastructure.search.rebuilds import claim_run, plan_rebuilds
from infrastructure.search.reindex import Reindexer
from infrastructure.search.reindex_progress import Progress
from infrastructure.search.repair import Repairer
from infrastructure.search.verify import MonthReport, Verifier

_sql = Queries(__package__, "settling.sql")


@translated_errors()
def check_search(client: Elasticsearch) -> None:
    """Find out now rather than later.

    Raises:
        SearchUnavailableError: the server is away or busy.
    """
    client.info()


def adopt_indices(connection: Connection, client: Elasticsearch | None) -> None:
    """Let a restored database name the indices that serve now, and forget how far they were.

    Otherwise the index stage would have the alias lead back to the indices of then. Before anybody works on it.

    Args:
        connection: to the restored database.
        client: of the search server; None: there is none to ask, and what the backup says stays.

    Raises:
        SearchUnavailableError: the server is away or busy.
    """
    connection.execute(_sql.forget_marks)
    if client is None:
        return
    serving = [name for name, serves in list_indices(client).items() if serves]
    with connection.transaction():
        connection.execute(_sql.forget_indices)
        for name in serving:
            asked = {"month": month_of(name), "generation": generation_of(name)}
            connection.execute(_sql.adopt_index, asked)


def rebuild_index(
    connection: Connection,
    client: Elasticsearch,
    progress: Progress,
    *,
    grace_seconds: float = READ_TIMEOUT_SECONDS,
) -> int:
    """Build the index anew from PostgreSQL, and empty what it has of months that PostgreSQL does not have.

    Events may flow meanwhile. Returns how many documents were copied.

    Raises:
        ReindexError: somebody else rebuilds, or the server does not take the documents.
        SearchUnavailableError: the server went away at the end.
    """
    claim_run(connection)
    rebuilds = plan_rebuilds(connection, restart=True)
    copied = Reindexer(connection, client, progress, grace_seconds=grace_seconds).run(rebuilds)
    rebuilt = {each.indices.month for each in rebuilds}
    verifier, repairer = Verifier(connection, client, progress), Repairer(connection, client)
    for task in verifier.plan():
        if task.month not in rebuilt:
            with closing(verifier.compare(task, MonthReport(task.label, task.index))) as found:
                for differences in found:
                    repairer.repair(task.month, differences)
    return copied
