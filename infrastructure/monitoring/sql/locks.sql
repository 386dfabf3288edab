-- Who waits for whom: a line for each session that waits and each that it waits for.
--
-- Look for: one blocking_pid in many lines: that is the one to look at. blocks_alone = true: it waits for nobody itself, so it
-- is where the chain begins. Empty: nobody waits.
-- Sessions of the platform give up after 10 seconds and come again; a migration after 3.
SELECT waiting.pid AS waiting_pid,
       waiting.application_name AS waiting_application,
       round(extract(epoch FROM clock_timestamp() - waiting.query_start)::numeric, 1) AS waiting_s,
       (
           SELECT string_agg(DISTINCT concat_ws(' ', mode, relation::regclass::text), ', ')
           FROM pg_locks
           WHERE pid = waiting.pid AND NOT granted
       ) AS waits_for,
       left(regexp_replace(waiting.query, '\s+', ' ', 'g'), 100) AS waiting_statement,
       blocking.pid AS blocking_pid,
       blocking.application_name AS blocking_application,
       blocking.state AS blocking_state,
       round(extract(epoch FROM clock_timestamp() - blocking.xact_start)::numeric, 1) AS blocking_transaction_s,
       cardinality(pg_blocking_pids(blocking.pid)) = 0 AS blocks_alone,
       left(regexp_replace(blocking.query, '\s+', ' ', 'g'), 100) AS blocking_statement
FROM pg_stat_activity AS waiting
CROSS JOIN LATERAL unnest(pg_blocking_pids(waiting.pid)) AS blocker (pid)
JOIN pg_stat_activity AS blocking ON blocking.pid = blocker.pid
WHERE waiting.wait_event_type = 'Lock'
ORDER BY waiting_s DESC, waiting_pid, blocking_pid;
