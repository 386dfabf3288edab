"""Comparing the index with PostgreSQL, signal by signal, in memory that does not grow with them.

Both sides are read from the newest signal to the oldest and matched. Events flow meanwhile, and the two readings are
not of the same instant: so what seems to differ is looked at again, as it is by then, before it is called a difference.
"""

from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from typing import Literal, get_args
from uuid import UUID

from elasticsearch import Elasticsearch

from common.search.documents import SignalRow
from common.search.generations import share_generations
from common.search.indices import list_indices
from common.search.template import month_of
from infrastructure.database.connections import Connection
from infrastructure.search.indexed import IndexedDocument, IndexedDocuments
from infrastructure.search.matching import Suspect, differing_fields, find_suspects
from infrastructure.search.reindex_progress import Progress
from infrastructure.search.stored import StoredSignals

Kind = Literal["missing", "stale", "extra", "refused", "hidden"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_SECOND_LOOK = 500  # so many at a time


@dataclass(frozen=True, slots=True)
class Difference:
    """One document that is not as PostgreSQL says.

    `missing`: the index lacks it. `stale`: it says something else, as `detail` tells, or is of another version.
    `extra`: PostgreSQL has no such signal in this month. `refused`: Elasticsearch did not take it, for the reason in
    `detail`. `hidden`: no document but the whole `index`, which is not behind the alias, so that no search sees it.
    `version` is that of the document in the index, if there is one.
    """

    kind: Kind
    month: str
    index: str
    signal_id: str | None = None
    tenant_id: int | None = None
    detail: str = ""
    version: int | None = None


@dataclass(slots=True)
class MonthReport:
    """What one index was found to hold. `pending` signals are no difference: the index stage has yet to write them."""

    month: str
    index: str
    signals: int = 0
    documents: int = 0
    pending: int = 0
    differences: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))


@dataclass(frozen=True, slots=True)
class Task:
    """One index to compare, with the signals of a month, or with none if it should not answer searches at all."""

    month: date
    index: str
    signals: int
    serves: bool = True
    hidden: bool = False

    @property
    def label(self) -> str:
        """The month as people write it: 2026-11."""
        return f"{self.month:%Y-%m}"


class Verifier:
    """Compares what `plan` lists.

    Args:
        connection: in autocommit mode.
        client: from `open_client`.
        progress: is told how it goes.
    """

    def __init__(self, connection: Connection, client: Elasticsearch, progress: Progress) -> None:
        self._connection = connection
        self._client = client
        self._stored = StoredSignals(connection)
        self._indexed = IndexedDocuments(client)
        self._progress = progress

    def plan(self, months: Collection[date] = ()) -> list[Task]:
        """What is to be compared: the months with these first days, or all that either side has.

        Raises:
            SearchUnavailableError: Elasticsearch is away or busy.
        """
        # No index takes over from another meanwhile.
        with self._connection.transaction():
            generations = share_generations(self._connection)
            behind = list_indices(self._client)
        by_month = {name: month for name in sorted(behind) if behind[name] and (month := month_of(name))}
        counts = self._stored.count(months)
        tasks = []
        for month in sorted(set(months) or counts.keys() | set(by_month.values())):
            serving = generations.of_month(month).serving
            tasks.append(Task(month, serving, counts.get(month, 0), hidden=not behind.get(serving, True)))
            tasks += [
                Task(month, name, 0, serves=False)
                for name, its_month in by_month.items()
                if its_month == month and name != serving
            ]
        return tasks

    def compare(self, task: Task, report: MonthReport) -> Generator[list[Difference], None, None]:
        """Yield what differs, some at a time, and count it and all else in `report`.

        Close it if it is not read to its end, so that the server need not keep the index as it was.

        Raises:
            VerifyError: the index was replaced meanwhile, or the server cannot list it.
            SearchUnavailableError: Elasticsearch is away or busy.
            DatabaseUnavailableError: PostgreSQL is away or busy.
        """
        self._progress.start(task.index, total=task.signals, done=0)
        if task.hidden:
            report.differences["hidden"] += 1
            yield [
                Difference("hidden", task.label, task.index, detail="not behind the alias: searches miss it")
            ]
        suspects: list[Suspect] = []
        # Closed here: a traceback that leads through the matching would keep it open for longer than the client.
        with closing(self._indexed.walk(task.index)) as documents:
            for suspect in find_suspects(self._rows(task, report), _counted(documents, report)):
                suspects.append(suspect)
                if len(suspects) >= _SECOND_LOOK:
                    yield self._look_again(task, suspects, report)
                    suspects = []
        if suspects:
            yield self._look_again(task, suspects, report)

    def _rows(self, task: Task, report: MonthReport) -> Iterator[SignalRow]:
        if not task.serves:
            return
        for row in self._stored.walk(task.month):
            report.signals += 1
            self._progress.advance(1)
            yield row

    def _look_again(self, task: Task, suspects: Sequence[Suspect], report: MonthReport) -> list[Difference]:
        """What of these still differs; in this order, so that whatever is written meanwhile counts as written."""
        ids = {suspect.id for suspect in suspects}
        signal_ids = [each for each in ids if _is_signal_id(each)]
        pending = self._stored.find_pending(signal_ids)
        refusals = self._stored.find_refusals(signal_ids)
        documents = self._indexed.find(task.index, ids)
        rows = self._stored.find(task.month, signal_ids) if task.serves else {}
        differences = []
        for each, stored in suspects:
            row, found = rows.get(each), documents.get(each)
            kind, detail = _judge(row, found)
            # Stored or gone meanwhile; or the document of a signal that is suspect by itself: each id is told once.
            if kind is None or stored != (row is not None):
                continue
            if stored and each in pending:
                report.pending += 1
                continue
            if stored and each in refusals:
                kind, detail = "refused", refusals[each]
            report.differences[kind] += 1
            tenant = row.tenant_id if row else found.source.get("tenant_id") if found else None
            version = found.version if found else None
            differences.append(Difference(kind, task.label, task.index, each, tenant, detail, version))
        return differences


def _counted(
    documents: Iterable[tuple[int, IndexedDocument]], report: MonthReport
) -> Iterator[tuple[int, IndexedDocument]]:
    for each in documents:
        report.documents += 1
        yield each


def _judge(row: SignalRow | None, found: IndexedDocument | None) -> tuple[Kind | None, str]:
    if row is None:
        return ("extra", "") if found is not None else (None, "")
    if found is None:
        return "missing", ""
    fields = differing_fields(row, found)
    return ("stale", ", ".join(fields)) if fields else (None, "")


def _is_signal_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
