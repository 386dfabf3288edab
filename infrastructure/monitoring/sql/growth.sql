-- Each table with its partitions: how large, and how much comes in a day.
--
-- Look for: what grows fastest, and days_until_doubled below the time that a larger disk takes; rows_added_a_day of
-- api_logs near that of events (is everything logged?); an outbox that grows at all.
-- The rates are means since the statistics began (since), which a crash or pg_stat_reset() sets anew.
WITH tables AS (
    SELECT pg_class.oid, relname, leaf.relid AS leaf
    FROM pg_class
    -- pg_partition_tree answers nothing for a table that is not partitioned.
    CROSS JOIN LATERAL (
        SELECT relid FROM pg_partition_tree(pg_class.oid) WHERE isleaf
        UNION
        SELECT pg_class.oid::regclass WHERE relkind = 'r'
    ) AS leaf
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
),
statistics AS (
    SELECT coalesce(stats_reset, pg_postmaster_start_time()) AS since,
           greatest(extract(epoch FROM now() - coalesce(stats_reset, pg_postmaster_start_time())) / 86400, 0.001) AS days
    FROM pg_stat_database
    WHERE datname = current_database()
),
sums AS (
    SELECT relname AS table_name,
           sum(pg_total_relation_size(leaf))::bigint AS bytes,
           sum(pg_stat_get_live_tuples(leaf))::bigint AS rows,
           sum(pg_stat_get_tuples_inserted(leaf))::bigint AS inserted,
           sum(pg_stat_get_tuples_deleted(leaf))::bigint AS deleted
    FROM tables
    GROUP BY relname
)
SELECT table_name,
       pg_size_pretty(bytes) AS size,
       bytes,
       rows,
       round(inserted / days)::bigint AS rows_added_a_day,
       round(deleted / days)::bigint AS rows_deleted_a_day,
       round(rows / nullif((inserted - deleted) / days, 0)) AS days_until_doubled,
       since::timestamp(0)
FROM sums CROSS JOIN statistics
ORDER BY bytes DESC;
