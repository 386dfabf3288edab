"""Erasing again what a backup brought back, in a database that nobody works on yet."""

from uuid import UUID

from infrastructure.database.connections import Connection
from worker.domains import DOMAINS
from worker.erasure.progress import Erasure, next_group, set_state
from worker.erasure.rows import delete_events, delete_signals, erase_customer, find_events, find_signals
from worker.validation.events import EventTypes

_GROUP = 500
_SIGNALS = 2_000
_PAGE_EVENTS = 20_000
_LAST_KEY = UUID(int=2**128 - 1)


def erase_rows(connection: Connection) -> int:
    """Delete what PostgreSQL holds of the customers whose erasure is requested; returns how many erasures.

    The steps are those of `worker.erasure.stage`, without its waiting: no batch runs here. What is left to each, its
    documents and withheld events, the platform's own erasure does.
    """
    types = EventTypes(DOMAINS)
    erased = 0
    while group := next_group(connection, _GROUP):
        if group[0].state != "requested":
            break
        _erase(connection, group, types)
        erased += len(group)
    return erased


def _erase(connection: Connection, group: list[Erasure], types: EventTypes) -> None:
    with connection.transaction():
        for each in group:
            erase_customer(connection, each, types)
        while found := find_signals(connection, group, _SIGNALS):
            delete_signals(connection, found)
        walked_at, walked_key = max(each.erased_at for each in group), _LAST_KEY
        while True:
            here = [each._replace(walked_at=walked_at, walked_key=walked_key) for each in group]
            events, place = find_events(connection, here, _PAGE_EVENTS)
            delete_events(connection, events)
            if place is None:
                break
            walked_at, walked_key = place
        set_state(connection, group, "documents")
