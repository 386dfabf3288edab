"""What a rebuild of the search index has to do: which months, from where on, and who may do it."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime

from elasticsearch import Elasticsearch

from common.database.queries import Queries
from common.errors import SsppError
from common.search.client import translated_errors
from common.search.documents import DOCUMENT_VERSION
from common.search.generations import MonthIndices, read_generations, span_of
from common.search.template import TEMPLATE_VERSION
from infrastructure.database.connections import Connection
from infrastructure.search.stored import Position, StoredSignals

# A constant of our own among the database's advisory locks.
_RUN_LOCK = 0x53535050_0005

_sql = Queries(__package__, "reindex.sql")


class ReindexError(SsppError):
    """The index cannot be rebuilt."""

    code = "reindex_failed"


@dataclass(frozen=True, slots=True)
class Rebuild:
    """One month to rebuild: its indices, how many signals it has, and how far an earlier run got.

    `indices.rebuilding` is the generation that is being built; None if the month is to be begun.
    """

    indices: MonthIndices
    signals: int
    copied: int = 0
    copied_through: Position | None = None

    @property
    def target(self) -> str:
        """The index that is being built.

        Raises:
            ValueError: the month is not begun.
        """
        if self.indices.building is None:
            raise ValueError(f"{self.indices.month:%Y-%m} is not begun")
        return self.indices.building

    @property
    def key(self) -> dict[str, object]:
        """What finds the record of this rebuild and of no other, as parameters of a statement."""
        return {"month": self.indices.month, "rebuilding": self.indices.rebuilding}

    @property
    def span(self) -> dict[str, datetime]:
        """From when until before when the month's signals were received, as parameters of a statement."""
        return span_of(self.indices.month)


def claim_run(connection: Connection) -> None:
    """Be the only one that rebuilds, until `connection` is closed or lost.

    Raises:
        ReindexError: somebody else does.
    """
    row = connection.execute(_sql.try_lock_run, {"lock_key": _RUN_LOCK}).fetchone()
    if row is None or not row[0]:
        raise ReindexError("another sspp reindex is running on this database; wait for its end, or end it")


def plan_rebuilds(
    connection: Connection, months: Collection[date] = (), *, restart: bool = False
) -> list[Rebuild]:
    """What is to be rebuilt, by month.

    Args:
        connection: in autocommit mode.
        months: their first days. If there are none: the months that an interrupted run left, or else all.
        restart: begin every month anew, instead of continuing what was interrupted.

    Returns:
        The months in order. What was begun under other versions of template or documents is to be begun anew.

    Raises:
        ReindexError: one of `months` has no signals.
    """
    versions = (TEMPLATE_VERSION, DOCUMENT_VERSION)
    interrupted: dict[date, Rebuild] = {}
    up_to_date = not restart
    rebuilds = connection.execute(_sql.list_rebuilds)
    for month, generation, rebuilding, copied, at, signal_id, *begun_with in rebuilds:
        indices = MonthIndices(month, generation, rebuilding)
        interrupted[month] = Rebuild(indices, 0, copied, Position(at, signal_id) if at else None)
        up_to_date = up_to_date and tuple(begun_with) == versions
    continued = interrupted if up_to_date else {}
    signals = StoredSignals(connection).count(months or continued)
    if unknown := sorted(set(months) - signals.keys() - interrupted.keys()):
        raise ReindexError(f"no signals were received in {', '.join(f'{month:%Y-%m}' for month in unknown)}")
    generations = read_generations(connection)
    return [
        Rebuild(before.indices, signals.get(month, 0), before.copied, before.copied_through)
        if (before := continued.get(month))
        else Rebuild(MonthIndices(month, generations.of_month(month).generation), signals.get(month, 0))
        for month in sorted(months or continued or signals.keys() | interrupted.keys())
    ]


@translated_errors()
def describe_rebuild(client: Elasticsearch, rebuild: Rebuild) -> dict[str, object]:
    """What `rebuild` would do, and what serves until then: a row of a table for people.

    Raises:
        SearchUnavailableError: the server is away or busy.
    """
    serving = rebuild.indices.serving
    mapping = client.options(ignore_status=404).indices.get_mapping(index=serving).body.get(serving)
    documents = template = None
    if mapping:
        documents = int(client.count(index=serving)["count"])
        # The first release's indices do not tell.
        template = int(mapping["mappings"].get("_meta", {}).get("template_version", 1))
    return {
        "month": f"{rebuild.indices.month:%Y-%m}",
        "signals": rebuild.signals,
        "index": serving,
        "documents": documents,
        "template": template,
        "newest_template": TEMPLATE_VERSION,
        "copied_already": rebuild.copied,
    }
