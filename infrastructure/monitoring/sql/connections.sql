-- Who holds how many connections, to all databases of the server.
--
-- Look for: share near 1 in all (the server refuses whoever comes next; the pools' sizes are in
-- docs/howto/run_workers.md); "idle in transaction" that lasts (somebody's console, or a hung client); an application_name
-- that is none of the platform's (theirs begin with sspp).
SELECT coalesce(datname, '') AS database,
       coalesce(usename, '') AS role,
       application_name,
       coalesce(state, 'unknown') AS state,
       count(*) AS connections,
       round(sum(count(*)) OVER () / current_setting('max_connections')::numeric, 3) AS share_in_all,
       round(extract(epoch FROM clock_timestamp() - min(state_change))) AS longest_in_state_s
FROM pg_stat_activity
WHERE datid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend' AND pid <> pg_backend_pid()
GROUP BY 1, 2, 3, 4
ORDER BY connections DESC, database, role, application_name, state;
