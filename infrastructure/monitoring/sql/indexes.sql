-- How each index is used, the largest first; the partitions of one are summed.
--
-- Look for: unused = true and large. It costs each write and answers nothing: think of dropping it, once the statistics
-- (since) span at least a month's reports, and on replicas too, which count for themselves. Never one that is_unique: it
-- holds a promise, whether or not somebody reads it. invalid > 0: CREATE INDEX CONCURRENTLY was cut off; drop it, build
-- it anew.
WITH leaves AS (
    SELECT pg_index.indexrelid,
           indrelid,
           indisunique,
           indisvalid,
           -- A partition's index belongs to the one of its parent table, if that has it.
           coalesce(inhparent, pg_index.indexrelid) AS root
    FROM pg_index
    JOIN pg_class ON pg_class.oid = pg_index.indexrelid
    LEFT JOIN pg_inherits ON inhrelid = pg_index.indexrelid
    WHERE relnamespace = current_schema()::regnamespace AND relkind = 'i'
)
SELECT root::regclass::text AS index_name,
       coalesce((SELECT inhparent FROM pg_inherits WHERE inhrelid = min(indrelid)), min(indrelid))::regclass::text
           AS table_name,
       bool_or(indisunique) AS is_unique,
       sum(pg_stat_get_numscans(indexrelid))::bigint AS scans,
       sum(pg_stat_get_numscans(indexrelid)) = 0 AS unused,
       count(*) FILTER (WHERE NOT indisvalid) AS invalid,
       sum(pg_relation_size(indexrelid))::bigint AS bytes,
       pg_size_pretty(sum(pg_relation_size(indexrelid))) AS size,
       (
           SELECT coalesce(stats_reset, pg_postmaster_start_time())::timestamp(0)
           FROM pg_stat_database
           WHERE datname = current_database()
       ) AS since
FROM leaves
GROUP BY root
ORDER BY bytes DESC, index_name;
