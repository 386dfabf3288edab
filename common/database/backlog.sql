-- name: select_outbox_backlog
-- Over every tenant_id: the platform's own view.
SELECT
    coalesce(sum(cardinality(signal_ids)), 0)::bigint AS signals,
    coalesce(extract(epoch FROM now() - min(created_at)), 0)::double precision AS age_seconds
FROM outbox
WHERE indexed_at IS NULL
