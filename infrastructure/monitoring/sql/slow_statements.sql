-- Which statements take the time: of pg_stat_statements where the server has it, else what runs right now.
--
-- Look for: the first lines. mean_ms high: it wants an index or a smaller question. mean_ms low and calls high: it is asked
-- too often. cached below 0.9: it reads from disk what does not fit into shared_buffers.
-- To have it: shared_preload_libraries = 'pg_stat_statements' (docker-compose.yml does that), a restart, and as a
-- superuser CREATE EXTENSION pg_stat_statements.
SELECT count(*) > 0 AS is_there, max(format('%I.pg_stat_statements', nspname)) AS statements
FROM pg_extension
JOIN pg_namespace ON pg_namespace.oid = extnamespace
WHERE extname = 'pg_stat_statements' AND has_schema_privilege(nspname, 'USAGE')
  AND EXISTS (
      SELECT FROM pg_settings WHERE name = 'shared_preload_libraries' AND setting LIKE '%pg_stat_statements%'
  )
\gset
\if :is_there
SELECT round(total_exec_time)::bigint AS total_ms,
       calls,
       round(mean_exec_time::numeric, 2) AS mean_ms,
       round(max_exec_time::numeric, 2) AS max_ms,
       rows,
       round(shared_blks_hit::numeric / nullif(shared_blks_hit + shared_blks_read, 0), 3) AS cached,
       userid::regrole::text AS role,
       left(regexp_replace(query, '\s+', ' ', 'g'), 200) AS statement
FROM :statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY total_exec_time DESC
LIMIT 25;
\else
\warn 'pg_stat_statements is not there: these are only the statements that run now.'
SELECT round(extract(epoch FROM clock_timestamp() - query_start) * 1000)::bigint AS running_ms,
       pid,
       usename AS role,
       application_name,
       left(regexp_replace(query, '\s+', ' ', 'g'), 200) AS statement
FROM pg_stat_activity
WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid()
ORDER BY query_start
LIMIT 25;
\endif
