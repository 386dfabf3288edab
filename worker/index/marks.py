"""Finding out that the search server lost documents that it had acknowledged, and having them sent again.

A server that is killed, fails over or is restored from a snapshot may have forgotten the last writes, or all of
them. Nothing tells so by itself: the outbox says that they are indexed. What shows it are two things that any
Elasticsearch answers in about a millisecond: when its nodes started, and the ``_seq_no`` of documents. Each write to
an index gets the next number, so while the document with the highest one is there, so are all before it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from elasticsearch import ApiError, Elasticsearch
from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from common.database.queries import Queries
from common.errors import SearchUnavailableError
from common.metrics import Metrics
from common.search.bulk import Written
from common.search.client import is_passing, translated_errors
from common.search.generations import read_generations, span_of
from common.search.template import month_of
from common.settings import Settings

_sql = Queries("worker.index", "marks.sql")
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Mark:
    """One row of `index_marks`: the newest document that an index is known to hold, and one of minutes before."""

    index_name: str
    received_from: datetime
    received_until: datetime
    nodes: dict[str, int]
    newest_id: str | None
    newest_seq_no: int | None
    checkpoint_id: str | None
    checkpoint_seq_no: int | None
    losses: int
    refilling: bool


@dataclass(frozen=True, slots=True)
class _Loss:
    """What became of an index since its mark was made."""

    mark: _Mark
    restarted: bool
    newest_is_there: bool
    checkpoint_is_there: bool

    @property
    def reaches_back(self) -> bool:
        """Whether more may be lost than what was indexed since the checkpoint."""
        return not self.newest_is_there and not self.checkpoint_is_there


@dataclass(frozen=True, slots=True)
class Sighting:
    """What was known of the indices and of the server before something was written to them."""

    marks: Mapping[str, _Mark]
    nodes: Mapping[str, int]
    losses: Sequence[_Loss]

    @property
    def refilling(self) -> bool:
        """Whether there is something for `worker.index.refill` to do."""
        return any(mark.refilling for mark in self.marks.values())


class IndexMarks:
    """Remembers in PostgreSQL how far each index got, and has what an index lost sent again.

    For each batch: `look`, and if it saw losses `resend` instead of writing; then write; then `confirm`, in the
    transaction that marks the batch as indexed. A loss between `look` and `confirm` is found by the next `look`, of
    whichever stage. It re-opens what was marked as indexed before, and what was written but not yet marked is not
    confirmed, so its rows stay pending. That is safe at any crash, and for any number of stages at once.
    """

    def __init__(self, client: Elasticsearch, metrics: Metrics, settings: Settings) -> None:
        self._client = client
        self._metrics = metrics
        self._resend_seconds = settings.index_resend_seconds

    def look(self, connection: Connection) -> Sighting:
        """What is known, what the server says, and which indices lost something according to both.

        Raises:
            SearchUnavailableError: the server is away or busy.
        """
        with connection.cursor(row_factory=class_row(_Mark)) as cursor:
            marks = cursor.execute(_sql.list_marks).fetchall()
        # Nodes first: should one restart right now, its old start is noted, and the next look sees the difference.
        nodes = self._nodes()
        there = self._find_documents(marks)
        losses = [
            loss
            for mark in marks
            if (loss := _loss(mark, nodes, there)).restarted or not loss.newest_is_there
        ]
        return Sighting({mark.index_name: mark for mark in marks}, nodes, losses)

    def resend(self, connection: Connection, seen: Sighting) -> int:
        """Re-open the outbox rows of what may be lost, and note that this was done; returns how many signals.

        Rows that were indexed since the checkpoint, SSPP_INDEX_RESEND_SECONDS before or earlier, are written again.
        Where more is lost, the whole month is: `worker.index.refill` puts it into the outbox bit by bit.
        """
        counted = _lock(connection)
        generations = read_generations(connection)
        signals = 0
        for loss in seen.losses:
            name = loss.mark.index_name
            if counted.get(name) != loss.mark.losses:
                continue  # another stage was faster
            if name not in generations.of(loss.mark.received_from).names:
                forget_mark(connection, name)  # replaced by a rebuilt one
                continue
            signals += self._resend(connection, loss, seen.nodes)
        return signals

    def confirm(self, connection: Connection, seen: Sighting, written: Mapping[str, Written]) -> bool:
        """Whether what was written since `seen` may be marked as indexed; notes how far the indices got.

        To be asked after the last write and in the transaction that marks it. False if the server lost something
        meanwhile, or may have: then it is to be sent again.
        """
        if not self._follows(seen, written):
            return False
        counted = _lock(connection)
        for name, losses in counted.items():
            if losses != (seen.marks[name].losses if name in seen.marks else 0):
                return False
        for name, each in sorted(written.items()):
            month = month_of(name)
            assert month is not None, name  # as all that `Router` writes to
            mark = {
                "index_name": name,
                **span_of(month),
                "nodes": Jsonb(dict(seen.nodes)),
                "newest_id": each.highest_id,
                "newest_seq_no": each.highest,
            }
            connection.execute(_sql.advance_mark, mark)
            connection.execute(
                _sql.move_checkpoint, {"index_name": name, "resend_seconds": self._resend_seconds}
            )
        return True

    def _resend(self, connection: Connection, loss: _Loss, nodes: Mapping[str, int]) -> int:
        mark = loss.mark
        row = connection.execute(_sql.reopen_outbox, {"index_name": mark.index_name}).fetchone()
        signals = int(row[0]) if row else 0
        connection.execute(
            _sql.reset_mark,
            {
                "index_name": mark.index_name,
                "nodes": Jsonb(dict(nodes)),
                "newest_is_there": loss.newest_is_there,
                "checkpoint_is_there": loss.checkpoint_is_there,
                "refill": loss.reaches_back,
            },
        )
        self._metrics.count("sspp_index_resends_total")
        self._metrics.count("sspp_signals_reopened_total", signals)
        log.warning(
            "index_lost_writes",
            index=mark.index_name,
            mark=mark.newest_seq_no,
            mark_is_there=loss.newest_is_there,
            server_restarted=loss.restarted,
            signals_reopened=signals,
            whole_month=loss.reaches_back,
        )
        return signals

    def _follows(self, seen: Sighting, written: Mapping[str, Written]) -> bool:
        """Whether what was written got higher numbers than what was there before.

        If not, the index went back in between, or has several shards, each of which counts by itself.
        """
        overlapped = [
            mark
            for name, each in written.items()
            if (mark := seen.marks.get(name))
            and mark.newest_seq_no is not None
            and each.lowest <= mark.newest_seq_no
        ]
        try:
            there = self._find_documents(overlapped)
        except SearchUnavailableError:
            return False
        return all(_loss(mark, {}, there).newest_is_there for mark in overlapped)

    @translated_errors()
    def _nodes(self) -> dict[str, int]:
        """When each data node started, in milliseconds; nothing if the server does not say."""
        try:
            found = self._client.nodes.info(
                node_id="data:true", metric="jvm", filter_path="nodes.*.jvm.start_time_in_millis"
            )
        except ApiError as error:
            # Our user lacks the right to monitor, or the server the feature: numbers alone must do.
            if is_passing(error.meta.status) and error.meta.status not in (401, 403):
                raise
            return {}
        return {
            node: about["jvm"]["start_time_in_millis"] for node, about in found.body.get("nodes", {}).items()
        }

    @translated_errors()
    def _find_documents(self, marks: Sequence[_Mark]) -> dict[tuple[str, str], int | None]:
        """The numbers of the marks' documents, None of what is not there; without what the server cannot tell."""
        documents = [
            {"_index": mark.index_name, "_id": document_id}
            for mark in marks
            for document_id in (mark.newest_id, mark.checkpoint_id)
            if document_id is not None
        ]
        if not documents:
            return {}
        answer = self._client.mget(
            docs=documents,
            source=False,
            filter_path=["docs._index", "docs._id", "docs.found", "docs._seq_no", "docs.error.type"],
        )
        return {
            (found["_index"], found["_id"]): found.get("_seq_no")
            for found in answer.body.get("docs", [])
            if found.get("error", {}).get("type", "index_not_found_exception") == "index_not_found_exception"
        }


def forget_mark(connection: Connection, index_name: str) -> None:
    """Look after this index no more."""
    connection.execute(_sql.delete_mark, {"index_name": index_name})


def _lock(connection: Connection) -> dict[str, int]:
    """How many losses of each index were acted upon, which does not change until the end of the transaction."""
    return {name: losses for name, losses in connection.execute(_sql.lock_marks)}  # noqa: C416  # rows are Any


def _loss(mark: _Mark, nodes: Mapping[str, int], there: Mapping[tuple[str, str], int | None]) -> _Loss:
    def is_there(document_id: str | None, seq_no: int | None, *, unless_asked: bool) -> bool:
        if document_id is None or seq_no is None:
            return unless_asked
        found = there.get((mark.index_name, document_id), seq_no)
        return found is not None and found >= seq_no

    return _Loss(
        mark,
        restarted=bool(nodes) and any(nodes.get(node) != start for node, start in mark.nodes.items()),
        newest_is_there=is_there(mark.newest_id, mark.newest_seq_no, unless_asked=True),
        checkpoint_is_there=is_there(mark.checkpoint_id, mark.checkpoint_seq_no, unless_asked=False),
    )
