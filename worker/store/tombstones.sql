-- name: begin_batch
-- One number for the whole batch of all tenants; each tenant_id has its own outbox row under it.
SELECT batch_id, tenants_with_tombstones FROM begin_batch(%(tenant_ids)s)

-- name: select_tombstones
SELECT tombstones.tenant_id, tombstones.customer_hash, erased_at, suppressed_at
FROM tombstones
JOIN unnest(%(tenant_ids)s::integer[], %(customer_hashes)s::bytea[]) AS asked (tenant_id, customer_hash)
    USING (tenant_id, customer_hash)
