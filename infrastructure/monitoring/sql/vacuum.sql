-- What was left behind in each table and partition, and when it was last cleaned up and analysed.
--
-- Look for: dead_share above 0.2 in a large table (autovacuum does not keep up, or an old transaction keeps it from
-- cleaning: running.sql); changed_since_analyze above a tenth of rows (plans are made on old figures: ANALYZE);
-- wraparound_share above 0.5 (autovacuum comes at 1, whatever else goes on; VACUUM (FREEZE) at a quiet time).
-- outbox and customers change the most; partitions of closed months should show no dead rows.
SELECT tables.relname AS table_name,
       n_live_tup AS rows,
       n_dead_tup AS dead_rows,
       round(n_dead_tup::numeric / nullif(n_live_tup + n_dead_tup, 0), 3) AS dead_share,
       n_mod_since_analyze AS changed_since_analyze,
       greatest(last_vacuum, last_autovacuum)::timestamp(0) AS vacuumed,
       greatest(last_analyze, last_autoanalyze)::timestamp(0) AS analysed,
       round(age(relfrozenxid)::numeric / current_setting('autovacuum_freeze_max_age')::numeric, 3) AS wraparound_share,
       pg_size_pretty(pg_total_relation_size(relid)) AS size,
       (SELECT phase FROM pg_stat_progress_vacuum AS progress WHERE progress.relid = tables.relid) AS vacuum_phase
FROM pg_stat_user_tables AS tables
JOIN pg_class ON pg_class.oid = relid
WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'
ORDER BY n_dead_tup DESC, table_name;
