-- Indexes are about a table as a whole: their statements know no tenant.

-- name: set_lock_timeout
SELECT set_config('lock_timeout', %(timeout)s, %(local)s);

-- name: reset_lock_timeout
RESET lock_timeout;

-- name: find_index
SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%(name)s);

-- name: drop_index
DROP INDEX CONCURRENTLY IF EXISTS {name};

-- name: create_data_index
CREATE INDEX CONCURRENTLY {name} ON {table} USING gin (data jsonb_path_ops);

-- name: try_index_lock
SELECT pg_try_advisory_lock(%(lock_key)s);

-- name: release_index_lock
SELECT pg_advisory_unlock(%(lock_key)s);
