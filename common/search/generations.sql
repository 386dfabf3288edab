-- Indices are about all tenants: these statements know none.

-- name: share_indices
SELECT pg_advisory_xact_lock_shared(%(lock_key)s);

-- name: claim_indices
SELECT pg_advisory_xact_lock(%(lock_key)s);

-- name: list_generations
SELECT month, generation, rebuilding FROM search_indices;
