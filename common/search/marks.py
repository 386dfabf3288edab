"""The marks by which losses are noticed (worker/index/marks.py), when their documents are removed on purpose."""

from collections.abc import Collection
from typing import Any

import psycopg
from elasticsearch import Elasticsearch
from psycopg.rows import class_row

from common.database.queries import Queries
from common.errors import SearchUnavailableError
from common.search.bulk import Written, write_documents
from common.search.documents import SignalRow, document
from common.search.generations import share_generations, transaction_check
from common.search.indices import list_indices
from common.search.listing import list_documents

_sql = Queries(__package__, "marks.sql")


def move_marks(connection: psycopg.Connection[Any], client: Elasticsearch, gone: Collection[str]) -> None:
    """Let the marks of documents that are about to be removed go over to others, which stay.

    So neither is the removal taken for a loss, nor a loss overlooked that comes after it. Only a mark of an index in
    which nothing stays names no document any more.

    Args:
        connection: in autocommit mode, or in a transaction that ends soon: it locks marks.
        client: from `open_client`.
        gone: ids of signals that PostgreSQL no longer has.

    Raises:
        SearchUnavailableError: the server is away or busy; no mark has moved.
    """
    wanted = {"gone": list(gone)}
    names = [name for (name,) in connection.execute(_sql.list_marks_of, wanted)]
    if not names:
        return
    there = list_indices(client)  # an index that is lost as a whole must go on to be missed
    heirs = {name: rewrite_newest(connection, client, name) for name in names if name in there}
    with connection.transaction():
        connection.execute(_sql.lock_marks)
        for name, heir in heirs.items():
            place = {"heir_id": heir and heir.highest_id, "heir_seq_no": heir and heir.highest}
            connection.execute(_sql.move_mark, {**wanted, **place, "index_name": name})


def rewrite_newest(connection: psycopg.Connection[Any], client: Elasticsearch, index: str) -> Written | None:
    """Write the newest document of `index` again whose signal PostgreSQL has, as it is.

    It gets the highest ``_seq_no`` by that: while it is there, so is all that was written before.

    Returns:
        Its id and number; None if there is no such document, or one of a newer version.

    Raises:
        SearchUnavailableError: the server is away or busy.
    """
    for page in list_documents(client, index, {"match_all": {}}, order="desc"):
        with connection.transaction(), connection.cursor(row_factory=class_row(SignalRow)) as cursor:
            share_generations(connection)  # and only then is the signal read, as by all who write documents
            row = cursor.execute(_sql.newest_of, {"signal_ids": [each.signal_id for each in page]}).fetchone()
            if row is None:
                continue
            outcome = write_documents(client, [document(row, index)], check=transaction_check(connection))
        if outcome.retry:
            raise SearchUnavailableError(
                f"Elasticsearch did not take a document of {index}; it is tried again"
            )
        return outcome.written.get(index)
    return None
