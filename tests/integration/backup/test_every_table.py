"""Every table has its place in a backup: whoever adds one decides here what a restore does with it."""

from backing_up import ABOUT_THE_INDEX, Site

from infrastructure.backup.catalogue import find_backup
from infrastructure.safekeeping.stores import FolderStore

# Comes back as it was.
RESTORED = {
    "api_logs",
    "customers",
    "event_keys",
    "event_types",
    "events",
    "index_failures",
    "outbox",
    "plans",
    "rejected_events",
    "schema_migrations",
    "schema_violations",
    "signals",
    "usage",
    "usage_parts",
}
# Comes back as it was, less what was revoked since: infrastructure/backup/revocations.sql.
REVOKED_AGAIN = {"api_keys", "erasures", "tenants", "tombstones"}


def test_what_a_restore_does_with_a_table_is_decided_for_each(site: Site) -> None:
    name = site.backup()["name"]
    tables = set(find_backup(FolderStore(site.store), name).tables)
    decided = RESTORED | REVOKED_AGAIN | ABOUT_THE_INDEX
    assert tables - decided == set(), (
        "new tables: does a row in them stand for something that must not come back (then see revocations.sql), or is "
        "it about the index or the server (then see settling.sql)? Otherwise add them to RESTORED"
    )
    assert decided - tables == set(), "these tables are gone"


def test_nothing_is_kept_where_a_backup_does_not_look(site: Site) -> None:
    elsewhere = site.execute(
        "SELECT nspname, relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
        " WHERE relkind IN ('r', 'p', 'm') AND nspname <> 'public'"
        " AND nspname !~ '^pg_' AND nspname <> 'information_schema'"
    )
    unlogged = site.execute("SELECT relname FROM pg_class WHERE relpersistence = 'u'")
    views = site.execute(
        "SELECT relname FROM pg_class WHERE relkind = 'm' AND relnamespace = 'public'::regnamespace"
    )
    [(large_objects,)] = site.execute("SELECT count(*) FROM pg_largeobject_metadata")
    assert (elsewhere, unlogged, views, large_objects) == ([], [], [], 0)
