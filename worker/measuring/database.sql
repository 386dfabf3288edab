-- Measured is the database as a whole: these statements know no tenant.

-- name: bound_transaction
-- One core at most; and no sorting of a day's rows where an index has them in order, whatever the statistics of a new month
-- make PostgreSQL believe.
SELECT set_config('statement_timeout', %(timeout)s, true),
       set_config('lock_timeout', '2s', true),
       set_config('transaction_read_only', 'on', true),
       set_config('max_parallel_workers_per_gather', '0', true),
       set_config('enable_sort', 'off', true);

-- name: read_activity
SELECT current_setting('max_connections')::integer AS connections_limit,
       xact_commit, xact_rollback, blks_hit, blks_read, tup_inserted, tup_updated, tup_deleted, deadlocks, temp_bytes,
       (SELECT count(*) FROM pg_locks WHERE NOT granted) AS locks_awaited,
       (
           SELECT coalesce(max(extract(epoch FROM now() - xact_start)), 0)::double precision
           FROM pg_stat_activity
           WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
       ) AS oldest_transaction_seconds
FROM pg_stat_database
WHERE datname = current_database();

-- name: count_connections
-- What a role may not look into shows neither state nor type; what has no database is the server's own.
SELECT coalesce(state, 'unknown') AS state, count(*) AS connections
FROM pg_stat_activity
WHERE datid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'
GROUP BY 1;

-- name: read_database_size
SELECT pg_database_size(current_database()) AS bytes;

-- name: list_table_sizes
-- pg_partition_tree answers nothing for a table that is not partitioned.
SELECT relname AS table_name,
       coalesce(
           (SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree(pg_class.oid)),
           pg_total_relation_size(pg_class.oid)
       )::bigint AS bytes
FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition;

-- name: find_settled
-- Up to when the index must have every signal by now: a minute ago, or the oldest that is still to be indexed. In whole
-- seconds, as the index knows no microseconds.
SELECT date_trunc('second', least(now() - interval '1 minute', min(received_from))) AS until
FROM outbox
WHERE indexed_at IS NULL;

-- name: find_span
-- The day before that, or what holds its last so many signals. A statement of its own: with the instant given, PostgreSQL
-- plans for the one or two months that it is about.
SELECT coalesce(
    (
        SELECT date_trunc('second', received_at) + interval '1 second'
        FROM signals
        WHERE received_at >= %(until)s - interval '1 day' AND received_at < %(until)s
        ORDER BY received_at DESC
        OFFSET %(most)s
        LIMIT 1
    ),
    %(until)s - interval '1 day'
) AS since;

-- name: count_settled_signals
-- But for those that Elasticsearch refused for their content, which are counted elsewhere.
SELECT count(*) AS signals
FROM signals
WHERE received_at >= %(since)s AND received_at < %(until)s
  AND NOT EXISTS (SELECT FROM index_failures WHERE index_failures.signal_id = signals.signal_id);

-- name: count_signals
SELECT count(*) AS signals FROM signals WHERE received_at >= %(since)s AND received_at < %(until)s;

-- name: count_refused_documents
SELECT count(*) AS documents FROM (SELECT FROM index_failures LIMIT %(most)s) AS refused;

-- name: count_default_rows
SELECT count(*) AS strays FROM (SELECT FROM {default_table} LIMIT %(most)s) AS strays;
