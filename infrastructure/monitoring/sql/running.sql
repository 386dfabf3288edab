-- What runs or holds a transaction open, the longest first.
--
-- Look for: transaction_s of hundreds. While it lasts nothing that was deleted since is cleaned up, and erasures, new
-- partitions and migrations wait. state "idle in transaction": nobody is working. wait "Lock …": see locks.sql.
-- To end one: SELECT pg_cancel_backend(pid), or pg_terminate_backend(pid) if it is idle in a transaction. What a worker
-- loses that way it does again.
SELECT pid,
       usename AS role,
       application_name,
       state,
       round(extract(epoch FROM clock_timestamp() - xact_start)::numeric, 1) AS transaction_s,
       round(extract(epoch FROM clock_timestamp() - query_start)::numeric, 1) AS statement_s,
       concat_ws(' ', wait_event_type, wait_event) AS wait,
       cardinality(pg_blocking_pids(pid)) AS blocked_by,
       left(regexp_replace(query, '\s+', ' ', 'g'), 200) AS statement
FROM pg_stat_activity
WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()
ORDER BY xact_start;
