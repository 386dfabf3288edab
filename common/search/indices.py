"""The monthly indices on the server: made, given the alias or not, refreshed and deleted as PostgreSQL says."""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

from elasticsearch import BadRequestError, Elasticsearch

from common.search.client import translated_errors
from common.search.documents import Document, SignalRow, source
from common.search.generations import Generations, MonthIndices
from common.search.template import ALIAS, ensure_template, generation_of, index_name, month_of


class Router:
    """Sends each document to every index that must hold it.

    Before the first document of a month it makes sure that the month's indices are there, as `generations` says. So
    a server that lost indices, alias or template has them again before anything is written. One router is for one
    transaction that shares `generations`.
    """

    def __init__(self, client: Elasticsearch, generations: Generations) -> None:
        self._client = client
        self._generations = generations
        self._names: dict[tuple[int, int], tuple[str, ...]] = {}

    def documents(self, row: SignalRow) -> list[Document]:
        """The document of `row`, once for each index: one as a rule, two while the month is rebuilt.

        Raises:
            SearchUnavailableError: the server is away or busy.
        """
        month = (row.received_at.year, row.received_at.month)
        if month not in self._names:
            indices = self._generations.of(row.received_at)
            ensure_indices(self._client, indices)
            self._names[month] = indices.names
        made = source(row)
        return [Document(name, row.signal_id, made) for name in self._names[month]]


@translated_errors()
def ensure_indices(client: Elasticsearch, indices: MonthIndices) -> None:
    """Make the month's indices if they are missing, and let the alias lead to the serving one alone.

    One small request if all is well. The alias moves in one step, so no search sees two generations of a month, or
    none. Any number of processes may do this at once, as long as they agree on `indices`.

    Raises:
        SearchUnavailableError: the server is away or busy.
    """
    found = list_indices(client, f"{index_name(indices.month)}*")
    missing = [name for name in indices.names if name not in found]
    if missing:
        ensure_template(client)
    for name in missing:
        _create(client, name, serving=name == indices.serving)
    actions: list[dict[str, Any]] = [
        {"add": {"index": name, "alias": ALIAS}}
        if name == indices.serving
        else {"remove": {"index": name, "alias": ALIAS, "must_exist": False}}
        for name, serves in found.items()
        if serves != (name == indices.serving)
    ]
    if actions:
        client.indices.update_aliases(actions=actions)


@translated_errors()
def refresh(client: Elasticsearch, index: str = ALIAS) -> None:
    """Make all that was written so far, to what serves or to one index, visible to searches.

    Raises:
        SearchUnavailableError: the server is away or busy.
    """
    client.indices.refresh(index=index, ignore_unavailable=True, allow_no_indices=True)


@translated_errors()
def list_indices(client: Elasticsearch, pattern: str = f"{ALIAS}-*") -> dict[str, bool]:
    """The monthly indices whose names match, in whatever state they are, and whether each has the alias.

    Raises:
        SearchUnavailableError: the server is away or busy.
    """
    found = client.options(ignore_status=404).indices.get_alias(
        index=pattern, expand_wildcards="all", allow_no_indices=True
    )
    return {name: ALIAS in about["aliases"] for name, about in found.body.items() if month_of(name)}


def newest_generation(client: Elasticsearch, month: date) -> int:
    """The highest generation of which there is an index of this month, whatever it holds; 0 if there is none.

    Raises:
        SearchUnavailableError: the server is away or busy.
    """
    return max(map(generation_of, list_indices(client, f"{index_name(month)}*")), default=0)


@translated_errors()
def drop_unused_indices(client: Elasticsearch, generations: Generations) -> list[str]:
    """Delete the indices that hold no month's documents according to `generations`; returns their names.

    What has the alias stays, so that no mistake of ours can take away what answers searches.

    Raises:
        SearchUnavailableError: the server is away or busy.
    """
    unused = (
        name
        for name, serves in list_indices(client).items()
        if not serves and (month := month_of(name)) and name not in generations.of_month(month).names
    )
    return _delete(client, unused)


@translated_errors()
def drop_indices_before(client: Elasticsearch, cutoff: datetime) -> list[str]:
    """Delete the indices, of any generation, of months that ended at or before the (aware) `cutoff`.

    Returns:
        Their names.

    Raises:
        SearchUnavailableError: the server is away or busy.
    """
    oldest_kept = index_name(cutoff)
    return _delete(client, (name for name in list_indices(client) if name < oldest_kept))


def _create(client: Elasticsearch, name: str, *, serving: bool) -> None:
    try:
        client.indices.create(index=name, aliases={ALIAS: {}} if serving else {})
    except BadRequestError as error:
        if error.error != "resource_already_exists_exception":  # somebody was faster, to the same end
            raise


def _delete(client: Elasticsearch, names: Iterable[str]) -> list[str]:
    deleted = sorted(names)
    for name in deleted:  # one by one and by name: clusters refuse to delete by wildcard
        client.options(ignore_status=404).indices.delete(index=name)
    return deleted
