-- The months of each partitioned table: how large, how many rows.
--
-- Look for: rows in a DEFAULT partition (a month was missing when they came: sspp partitions create moves them); no month
-- beyond the present one; index_bytes above table_bytes by far (bloat, see vacuum.sql); old months that retention should
-- have dropped.
-- rows is the planner's estimate: those of the last VACUUM or ANALYZE, by how the table has grown since. Empty: there was
-- none yet.
SELECT parent.relname AS table_name,
       child.relname AS partition_name,
       pg_get_expr(child.relpartbound, child.oid) = 'DEFAULT' AS is_default,
       CASE
           WHEN pg_relation_size(child.oid) = 0 THEN 0
           WHEN child.relpages > 0
           THEN round(child.reltuples * (pg_relation_size(child.oid) / current_setting('block_size')::float)
                      / child.relpages)::bigint
       END AS rows,
       pg_table_size(child.oid) AS table_bytes,
       pg_indexes_size(child.oid) AS index_bytes,
       pg_size_pretty(pg_total_relation_size(child.oid)) AS total
FROM pg_inherits
JOIN pg_class AS parent ON parent.oid = inhparent
JOIN pg_class AS child ON child.oid = inhrelid
WHERE parent.relkind = 'p' AND parent.relnamespace = current_schema()::regnamespace
ORDER BY table_name, is_default DESC, partition_name;
