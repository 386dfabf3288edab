-- Indices are about all tenants: these statements know none.

-- name: share_indices
-- With a number of its own, by which the transaction is waited for.
SELECT pg_advisory_xact_lock_shared(%(lock_key)s), pg_current_xact_id();

-- name: claim_indices
SELECT pg_advisory_xact_lock(%(lock_key)s);

-- name: list_generations
SELECT month, generation, rebuilding FROM search_indices;

-- name: sign_of_life
SELECT 1;
