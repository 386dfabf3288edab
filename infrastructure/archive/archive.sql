-- Archived are partitions as a whole, of all tenants: these statements know none.

-- name: wait_for_nothing
SELECT set_config('statement_timeout', '0', false), set_config('idle_in_transaction_session_timeout', '0', false);

-- name: find_table
SELECT oid::bigint FROM pg_class WHERE relname = %(name)s AND relnamespace = current_schema()::regnamespace;

-- name: list_columns
SELECT attname, format_type(atttypid, NULL)
FROM pg_attribute
WHERE attrelid = %(oid)s::oid AND attnum > 0 AND NOT attisdropped
ORDER BY attnum;

-- name: count_unfinished_erasures
-- Those that have still to look through rows.
SELECT count(*) FROM erasures WHERE state IN ('requested', 'signals', 'events');

-- name: copy_lines
-- No JSON text contains the two control characters, as it has to escape them: each row is one line, as it is.
COPY (SELECT row_to_json(line) FROM (SELECT {columns} FROM ONLY {table}) AS line)
TO STDOUT (FORMAT csv, DELIMITER E'\x02', QUOTE E'\x01');

-- name: list_index_states
SELECT child.relname AS name,
       count(*) AS indexes,
       coalesce(array_agg(indexed.relname::text) FILTER (WHERE NOT indisvalid), '{}') AS invalid,
       coalesce(bool_or(method.amname = 'gin'), false) AS searched_in_data
FROM pg_inherits
JOIN pg_class AS child ON child.oid = inhrelid
JOIN pg_index ON indrelid = child.oid
JOIN pg_class AS indexed ON indexed.oid = indexrelid
JOIN pg_am AS method ON method.oid = indexed.relam
WHERE inhparent = ANY (%(tables)s::regclass[])
GROUP BY child.relname;

-- name: list_keeping_tenants
-- Whose own retention has not passed for what was received up to then.
SELECT tenant_id, slug, retention_days
FROM tenants
WHERE retention_days IS NOT NULL AND %(ends)s > %(now)s - retention_days * interval '1 day' AND status <> 'deleted'
ORDER BY tenant_id;

-- name: holds_rows
SELECT EXISTS (SELECT FROM {table});

-- name: holds_rows_of_tenant
SELECT EXISTS (SELECT FROM {table} WHERE tenant_id = %(tenant_id)s);

-- name: list_expired_tenants
-- Of whom archives keep nothing that was received before then: deleted ones, and those whose retention has passed.
SELECT tenant_id
FROM tenants
WHERE status = 'deleted' OR %(ends)s <= %(now)s - retention_days * interval '1 day'
ORDER BY tenant_id;

-- name: list_tombstones
-- Of every tenant_id.
SELECT tenant_id, customer_hash, erased_at FROM tombstones WHERE erased_at IS NOT NULL;
