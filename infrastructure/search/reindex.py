"""Rebuilding the search index from PostgreSQL, month by month, while events keep flowing.

A rebuild of a month is begun by recording the generation that is built. From then on the index stage writes every
document to both, so what is copied is only what was stored before; both writers send the same documents under the
same ids, so their order does not matter. When the new index is complete the alias moves to it, and the former index
is deleted once no search that began before can still be reading it.

Every step may be interrupted: what is recorded in PostgreSQL says what holds, the index stage makes the server
follow it, and the next run goes on from there.
"""

import random
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date
from functools import partial
from typing import ParamSpec, TypeVar

import psycopg
from elasticsearch import Elasticsearch

from common.database.queries import Queries
from common.errors import DatabaseUnavailableError
from common.search.bulk import Written
from common.search.client import READ_TIMEOUT_SECONDS, translated_errors
from common.search.documents import DOCUMENT_VERSION
from common.search.generations import claim_generations, read_generations
from common.search.indices import drop_unused_indices, ensure_indices, newest_generation, refresh
from common.search.marks import rewrite_newest
from common.search.template import TEMPLATE_VERSION
from infrastructure.database.connections import Connection
from infrastructure.search.copying import Copier
from infrastructure.search.patience import patiently
from infrastructure.search.rebuilds import Rebuild, ReindexError
from infrastructure.search.reindex_progress import Progress
from infrastructure.search.verify import MonthReport, Task, Verifier

_PAGE_SIGNALS = 500  # what memory holds of them, and copies again after an interruption
# A server that loses documents while they are copied gets them again, so many times in all.
_COPIES = 3
# Who waits for the writers to pause makes all others wait behind: give up soon, let them pass, try again.
_LOCK_TIMEOUT = "5s"
_LOCK_ATTEMPTS = 60

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

_sql = Queries(__package__, "reindex.sql")


class Reindexer:
    """Does what `plan_rebuilds` says. To be used by whom `claim_run` let in.

    Args:
        connection: in autocommit mode.
        client: from `open_client`.
        progress: is told how it goes.
        rate: most documents a second, so that the flow of new events keeps its share; None is as fast as it goes.
        page_signals: how many are read and written before the position is recorded.
        grace_seconds: how long a former index is kept for the searches that began before the alias moved.
    """

    def __init__(
        self,
        connection: Connection,
        client: Elasticsearch,
        progress: Progress,
        *,
        rate: float | None = None,
        page_signals: int = _PAGE_SIGNALS,
        grace_seconds: float = READ_TIMEOUT_SECONDS,
    ) -> None:
        self._connection = connection
        self._client = client
        self._progress = progress
        self._copier = Copier(connection, client, progress, rate=rate, page_signals=page_signals)
        self._grace_seconds = grace_seconds
        self._switched_at: float | None = None

    def run(self, rebuilds: Sequence[Rebuild]) -> int:
        """Rebuild all of these months; returns how many documents were copied.

        An outage of the search server is waited out, however long it lasts.

        Raises:
            ReindexError: a new index stays incomplete, however often it is copied.
            DatabaseUnavailableError: PostgreSQL went away or is busy; run again to continue.
        """
        self._patiently(self._drop_unused)
        begun = self._begin(rebuilds)
        copied = sum(self._rebuild(each) for each in begun)
        if self._switched_at is not None:
            time.sleep(max(0.0, self._switched_at + self._grace_seconds - time.monotonic()))
        self._patiently(self._drop_unused)
        return copied

    def abandon(self, months: Collection[date] = ()) -> list[date]:
        """Give up what an interrupted run left, of `months` or of all: what serves goes on serving, alone.

        Returns:
            The months given up.

        Raises:
            DatabaseUnavailableError: PostgreSQL went away or is busy; run again.
        """

        def forget() -> list[date]:
            given_up = self._connection.execute(_sql.abandon_rebuilds, {"months": list(months)})
            return sorted(month for (month,) in given_up)

        abandoned = self._claimed(forget)
        self._patiently(self._drop_unused)
        return abandoned

    def _begin(self, rebuilds: Sequence[Rebuild]) -> list[Rebuild]:
        """Record the months as being rebuilt; all in one step, so that a continued run knows them all."""
        begun = [each if each.indices.rebuilding else self._numbered(each) for each in rebuilds]

        def record() -> None:
            for each in begun:
                if each not in rebuilds:
                    self._connection.execute(
                        _sql.begin_rebuild,
                        {
                            "month": each.indices.month,
                            "rebuilding": each.indices.rebuilding,
                            "template_version": TEMPLATE_VERSION,
                            "document_version": DOCUMENT_VERSION,
                        },
                    )

        self._claimed(record)
        return begun

    def _numbered(self, rebuild: Rebuild) -> Rebuild:
        # Above whatever there is, so that no documents of an index that was given up are taken for ours.
        newest = self._patiently(newest_generation, self._client, rebuild.indices.month)
        number = max(newest, rebuild.indices.generation) + 1
        return replace(rebuild, indices=replace(rebuild.indices, rebuilding=number))

    def _rebuild(self, rebuild: Rebuild) -> int:
        """Bring one month to its end; returns how many documents were copied."""
        self._progress.start(rebuild.target, total=rebuild.signals, done=min(rebuild.copied, rebuild.signals))
        copied = 0
        for _ in range(_COPIES):
            copied += self._copier.copy(rebuild)
            newest = self._copier.copy_first(rebuild)
            missing = self._patiently(self._count_missing, rebuild)
            if missing <= 0:
                break
            self._progress.say(f"{missing} documents got lost on the server; copying the month again")
            self._connection.execute(_sql.rewind_rebuild, rebuild.key)
            rebuild = replace(rebuild, copied=0, copied_through=None)
        else:
            raise ReindexError(
                f"{rebuild.target} still lacks {missing} documents after {_COPIES} copies;"
                " look after the search server, then run sspp reindex again"
            )
        if self._switched_at is not None and time.monotonic() - self._switched_at > self._grace_seconds:
            self._patiently(self._drop_unused)
        if self._patiently(self._claimed, partial(self._switch, rebuild, newest)):
            self._switched_at = time.monotonic()
            self._progress.say(f"{rebuild.target} serves in place of {rebuild.indices.serving}")
        else:
            self._progress.say(f"{rebuild.indices.month:%Y-%m} has expired meanwhile")
        return copied

    def _count_missing(self, rebuild: Rebuild) -> int:
        """How many documents the new index lacks at least; none if it is not positive."""
        # First what is expected, then what is there: so new documents look like none that are lost.
        row = self._connection.execute(
            _sql.count_expected, {"month": rebuild.indices.month, **rebuild.span}
        ).fetchone()
        expected, being_deleted = (int(row[0]), bool(row[1])) if row else (0, False)
        ensure_indices(self._client, rebuild.indices)
        refresh(self._client, rebuild.target)
        with translated_errors():
            missing = expected - int(self._client.count(index=rebuild.target)["count"])
        if missing <= 0 and not being_deleted:
            return missing
        # Numbers alone do not tell: documents that are still to be deleted hide as many that are missing, and those
        # that just were look like missing ones.
        return self._find_missing(rebuild)

    def _find_missing(self, rebuild: Rebuild) -> int:
        """How many documents the new index lacks, signal by signal."""
        verifier = Verifier(self._connection, self._client, self._progress)
        report = MonthReport(f"{rebuild.indices.month:%Y-%m}", rebuild.target)
        task = Task(rebuild.indices.month, rebuild.target, rebuild.signals)
        with closing(verifier.compare(task, report)) as found:
            for _ in found:
                pass  # they are counted
        return report.differences["missing"]

    def _switch(self, rebuild: Rebuild, newest: Written | None) -> bool:
        """Let the new index serve; False if the month expired. Nobody writes documents meanwhile.

        The server goes first: if this is interrupted before it is recorded, the index stage and the next run put
        the alias back to the former index, which has every document as well.

        `newest` is from `Copier.copy_first`: the index stage looks after it from now on, and has the month sent again
        if it is gone (worker/index/marks.py). If its signal is gone, another document takes its place.
        """
        if self._connection.execute(_sql.lock_rebuild, rebuild.key).fetchone() is None:
            return False
        refresh(self._client, rebuild.target)
        ensure_indices(self._client, rebuild.indices.switched())
        self._connection.execute(_sql.finish_rebuild, rebuild.key)
        self._connection.execute(_sql.delete_mark, {"index_name": rebuild.indices.serving})
        if newest and not self._is_stored(newest.highest_id):
            newest = rewrite_newest(self._connection, self._client, rebuild.target)
        if newest:
            self._connection.execute(
                _sql.record_mark,
                {
                    "index_name": rebuild.target,
                    "newest_id": newest.highest_id,
                    "newest_seq_no": newest.highest,
                    **rebuild.span,
                },
            )
        self._connection.execute(_sql.forget_old_failures, {"month": rebuild.indices.month, **rebuild.span})
        return True

    def _is_stored(self, signal_id: str) -> bool:
        row = self._connection.execute(_sql.is_stored, {"signal_id": signal_id}).fetchone()
        return row is not None and bool(row[0])

    def _drop_unused(self) -> None:
        drop_unused_indices(self._client, read_generations(self._connection))
        self._switched_at = None

    def _patiently(
        self, step: Callable[_Arguments, _Result], *args: _Arguments.args, **kwargs: _Arguments.kwargs
    ) -> _Result:
        return patiently(self._progress, step, *args, **kwargs)

    def _claimed(self, step: Callable[[], _Result]) -> _Result:
        """Do `step` in a transaction during which nobody writes documents."""
        for _ in range(_LOCK_ATTEMPTS):
            try:
                with self._connection.transaction():
                    self._connection.execute(_sql.set_lock_timeout, {"timeout": _LOCK_TIMEOUT})
                    claim_generations(self._connection)
                    return step()
            except psycopg.errors.LockNotAvailable:
                self._progress.say("waiting for the index workers to finish their batches")
                time.sleep(random.uniform(0.05, 0.5))  # noqa: S311  # apart from other processes, nothing secret
        raise DatabaseUnavailableError(
            "index workers kept their batches open all the time; look for long transactions, then run it again"
        )
