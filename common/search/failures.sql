-- name: record_failures
INSERT INTO index_failures (signal_id, tenant_id, failed_at, status, reason)
SELECT failure.signal_id, failure.tenant_id, clock_timestamp(), failure.status, failure.reason
FROM unnest(
    %(signal_ids)s::uuid[], %(tenant_ids)s::integer[], %(statuses)s::integer[], %(reasons)s::text[]
) AS failure (signal_id, tenant_id, status, reason)
ON CONFLICT (signal_id) DO UPDATE
SET failed_at = excluded.failed_at,
    status = excluded.status,
    reason = excluded.reason
WHERE index_failures.tenant_id = excluded.tenant_id;

-- name: forget_failures
DELETE FROM index_failures
WHERE tenant_id = ANY(%(tenant_ids)s::integer[])
  AND signal_id = ANY(%(signal_ids)s::uuid[]);
