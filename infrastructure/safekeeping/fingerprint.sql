-- Tables are about all tenants: these statements know none.

-- name: list_tables
-- What is counted: partitions count with their tables.
SELECT relname
FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
ORDER BY relname;

-- name: take_fingerprint
-- The sum of the rows' hashes: the same in whatever order they are read.
SELECT count(*), coalesce(sum(hashtextextended(each::text, 0)::numeric), 0)::text FROM {table} AS each;

-- name: wait_for_nothing
SELECT set_config('statement_timeout', '0', false), set_config('idle_in_transaction_session_timeout', '0', false);
