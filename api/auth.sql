-- name: find_key
-- A key finds its tenant, so this is the one look-up that has no tenant_id to ask with; prefix is unique.
SELECT key_id, tenant_id, key_hash, scopes, expires_at
FROM api_keys
WHERE prefix = %(prefix)s AND revoked_at IS NULL;
