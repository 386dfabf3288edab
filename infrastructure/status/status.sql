-- About the platform as a whole: these statements know no tenant. None counts more than a screen has use for.

-- name: set_patience
SELECT set_config('statement_timeout', '2s', false);

-- name: read_sizes
SELECT pg_database_size(current_database()) AS bytes,
       (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()) AS connections,
       current_setting('max_connections')::integer AS connections_limit;

-- name: count_refused
SELECT count(*) FROM (SELECT FROM rejected_events WHERE status = 'open' LIMIT %(most)s) AS counted;

-- name: count_refused_documents
SELECT count(*) FROM (SELECT FROM index_failures LIMIT %(most)s) AS counted;

-- name: count_unfinished_erasures
SELECT count(*) FROM (SELECT FROM erasures WHERE state <> 'done' LIMIT %(most)s) AS counted;
