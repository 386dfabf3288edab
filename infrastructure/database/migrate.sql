-- The runner's own bookkeeping. schema_migrations is about the database as a whole: the one table without tenants.

-- name: find_table
SELECT to_regclass('schema_migrations') IS NOT NULL;

-- name: create_table
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    checksum   text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    duration   interval NOT NULL
);

-- name: list_applied
SELECT version, name, checksum FROM schema_migrations ORDER BY version;

-- name: record_migration
INSERT INTO schema_migrations (version, name, checksum, duration)
VALUES (%(version)s, %(name)s, %(checksum)s, clock_timestamp() - now());

-- name: set_timeouts
SELECT set_config('lock_timeout', %(lock)s, %(local)s), set_config('statement_timeout', %(statement)s, %(local)s);

-- name: take_lock
SELECT pg_advisory_lock(%(lock_key)s);

-- name: release_lock
SELECT pg_advisory_unlock(%(lock_key)s);
