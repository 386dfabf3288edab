"""What a restored database needs before anybody works on it: what is about another time is put right."""

from dataclasses import replace
from datetime import datetime

from elasticsearch import Elasticsearch

from common.clock import rfc3339
from common.database.queries import Queries
from infrastructure.backup.erasing import erase_rows
from infrastructure.backup.index import adopt_indices
from infrastructure.backup.revocations import (
    Applied,
    Revocations,
    apply_revocations,
    begin_erasures_again,
    kept_revocations,
    merged,
    read_revocations,
)
from infrastructure.database.connections import connect
from infrastructure.safekeeping.errors import CorruptedBackupError
from infrastructure.safekeeping.progress import Steps
from infrastructure.safekeeping.stores import Store

_sql = Queries(__package__, "settling.sql")


def settle(database_url: str, known: Revocations | None, search: Elasticsearch | None) -> Applied | None:
    """Revoke and erase again, and name the indices of now; may be repeated.

    Args:
        database_url: of a database that nobody works on.
        known: what was revoked since, if that is known.
        search: the server whose indices serve; None leaves them as the database says.

    Returns:
        What was applied; None if nothing is known.
    """
    with connect(database_url) as connection:
        connection.execute(_sql.skip_tenant_ids)
        applied = apply_revocations(connection, known) if known else None
        begin_erasures_again(connection)
        erase_rows(connection)
        adopt_indices(connection, search)
        connection.execute(_sql.analyze)
    return applied


def settle_recovered(
    database_url: str, store: Store, steps: Steps, search: Elasticsearch | None
) -> tuple[datetime, Applied | None]:
    """`settle` a database that PostgreSQL's own means brought back to some instant, by what the store knows.

    Returns:
        That instant, as far as the newest call or event tells, and what was applied.
    """
    with connect(database_url, read_only=True) as connection:
        row = connection.execute(_sql.find_last_instant).fetchone()
        own = read_revocations(connection)
    assert row is not None
    until: datetime = row[0]
    known = readable_revocations(store, steps)
    if known and own:
        known = merged(known, replace(own, as_of=until))
    return until, settle(database_url, known, search)


def readable_revocations(store: Store, steps: Steps) -> Revocations | None:
    """What is written down beside the backups; None, which is said, if it is damaged."""
    try:
        return kept_revocations(store)
    except CorruptedBackupError as error:
        steps.warn(
            f"{error.detail}. It is not used: what was revoked is known from the database that is there, if any"
        )
        return None


def describe(since: datetime, revoked: Applied | None) -> str:
    """What was revoked again, for people, and what is left to them."""
    if revoked is None:
        return (
            f"NOT KNOWN: who was erased or suppressed, and which keys were revoked, after {rfc3339(since)}. Erase, "
            "suppress and revoke them again before you let anybody in."
        )
    return (
        f"Applied again, of what came after the backup: {revoked.erased} erasures, {revoked.keys} revoked keys, "
        f"{revoked.tenants} tenants that ended.\n"
        f"This is known until {rfc3339(revoked.known_until)}: of what was asked for later, ask again."
    )
