"""Every statement of the API, the workers and what both share names the tenant it is about."""

import re
from pathlib import Path

import pytest

from common.database.queries import Queries

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path.relative_to(ROOT) for part in ("api", "common", "worker") for path in (ROOT / part).rglob("*.sql")
)
# About the database, the queue or an index of all tenants as a whole: nothing of a tenant's is read or shown by them.
WITHOUT_TENANT = {
    "find_schema_version",
    "select_rights",
    "estimate_backlog",
    "select_outbox_backlog",
    "delete_indexed_outbox",
    "count_due",
    "count_tenants",
}.union(
    Queries("worker.index", "marks.sql"),
    Queries("worker.index", "refill.sql"),
    Queries("worker.measuring", "database.sql"),
    Queries("common.search", "generations.sql"),
    Queries("common.search", "marks.sql"),
    Queries("common.database", "partitions.sql"),
    Queries("common.database", "transactions.sql"),
    Queries("common.database", "data_indexes.sql"),
    # Tenants themselves are named by their slugs.
    Queries("common.tenancy", "tenants.sql"),
    Queries("common.tenancy", "plans.sql"),
)

# A key is what finds the tenant in the first place; its use is noted by the key's own tenant, each call that is logged
# names its own, and the log of events is looked through for the transaction's.
ASKED_OTHERWISE = {"find_keys", "note_key_uses", "insert_logs", "set_tenancy", "look_through_log"}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_statement_names_the_tenant(path: Path) -> None:
    queries = Queries(".".join(path.parent.parts), path.name)
    for name in queries:
        statement = re.sub(r"--[^\n]*", "", getattr(queries, name))
        if name in WITHOUT_TENANT | {"look_through_log"}:
            continue
        assert re.search(r"\btenant_ids?\b", statement), f"{path}: {name} does not mention tenant_id"


@pytest.mark.parametrize("path", [path for path in FILES if path.parts[0] == "api"], ids=str)
def test_every_statement_of_the_api_is_asked_with_the_tenant(path: Path) -> None:
    queries = Queries(".".join(path.parent.parts), path.name)
    for name in queries:
        if name not in WITHOUT_TENANT | ASKED_OTHERWISE:
            assert "%(tenant_id)s" in getattr(queries, name), f"{path}: {name}"
