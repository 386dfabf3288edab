-- Partitions are about the table as a whole: their statements know no tenant.

-- name: list_partitions
-- Rows as the planner estimates them: those of the last count, by how the table has grown since. NULL: never counted.
SELECT parent.relname AS table_name,
       child.relname AS name,
       CASE
           WHEN pg_relation_size(child.oid) = 0 THEN 0
           WHEN child.relpages > 0
           THEN round(child.reltuples * (pg_relation_size(child.oid) / current_setting('block_size')::float)
                      / child.relpages)::bigint
       END AS row_estimate,
       pg_total_relation_size(child.oid) AS bytes
FROM pg_inherits
JOIN pg_class AS parent ON parent.oid = inhparent
JOIN pg_class AS child ON child.oid = inhrelid
WHERE inhparent = ANY (%(tables)s::regclass[])
ORDER BY table_name, name;

-- name: list_default_months
SELECT DISTINCT date_trunc('month', received_at, 'UTC') FROM {default_table};

-- name: count_default_rows
SELECT count(*) FROM {default_table};

-- name: set_lock_timeout
SELECT set_config('lock_timeout', %(timeout)s, %(local)s);

-- name: lock_partitioning
SELECT pg_advisory_xact_lock(%(lock_key)s);

-- name: find_table
-- Not to_regclass: within a transaction it may not see yet what another session made.
SELECT 1 FROM pg_class WHERE relname = %(name)s AND relnamespace = current_schema()::regnamespace;

-- name: find_default_rows
SELECT 1 FROM {default_table} WHERE received_at >= {starts} AND received_at < {ends} LIMIT 1;

-- name: lock_writers
LOCK TABLE ONLY {table} IN ACCESS EXCLUSIVE MODE;

-- name: create_partition
CREATE TABLE {name} (LIKE {table} INCLUDING ALL);

-- name: seal_partition
-- Without a policy of its own nothing of it is seen but through its parent.
ALTER TABLE {name} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

-- name: move_default_rows
WITH moved AS (
    DELETE FROM {default_table} WHERE received_at >= {starts} AND received_at < {ends} RETURNING *
)
INSERT INTO {name} SELECT * FROM moved;

-- name: attach_partition
ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({starts}) TO ({ends});

-- name: keep_rows_as_they_are
-- Of one month that is over: whoever reads it, or writes other months, does not wait.
LOCK TABLE ONLY {name} IN SHARE MODE;

-- name: drop_partition
DROP TABLE IF EXISTS {name};

-- name: delete_expired
DELETE FROM {table} WHERE ctid = ANY (
    ARRAY(SELECT ctid FROM {table} WHERE {instant} < %(cutoff)s LIMIT %(batch)s FOR UPDATE SKIP LOCKED)
);
