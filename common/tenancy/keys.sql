-- API keys of a tenant. What is stored finds and verifies a key, but cannot give it back.

-- name: create_key
INSERT INTO api_keys (tenant_id, prefix, key_hash, kind, name, scopes, expires_at, lifetime)
VALUES (%(tenant_id)s, %(prefix)s, %(key_hash)s, %(kind)s, %(name)s, %(scopes)s, %(expires_at)s, %(lifetime)s);

-- name: count_usable_keys
SELECT count(*) FROM api_keys
WHERE tenant_id = %(tenant_id)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now());

-- name: find_usable_key
SELECT key_hash FROM api_keys
WHERE tenant_id = %(tenant_id)s AND prefix = %(prefix)s AND scopes @> %(scopes)s::text[]
  AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now());

-- name: list_keys
SELECT key_id, slug AS tenant, prefix, kind, api_keys.name, scopes, api_keys.created_at, expires_at, revoked_at,
    last_used_at
FROM api_keys JOIN tenants USING (tenant_id)
WHERE (tenant_id = %(tenant_id)s OR %(tenant_id)s::integer IS NULL) AND key_id > coalesce(%(after)s, -1)
ORDER BY tenant_id, key_id
LIMIT %(limit)s;

-- name: lock_usable_key
SELECT kind, name, scopes, lifetime
FROM api_keys
WHERE tenant_id = %(tenant_id)s AND prefix = %(prefix)s AND scopes <@ %(most_scopes)s::text[]
  AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
FOR UPDATE;

-- name: retire_key
-- Never later than it would have expired anyway.
UPDATE api_keys SET expires_at = least(expires_at, now() + %(overlap)s::interval)
WHERE tenant_id = %(tenant_id)s AND prefix = %(prefix)s;

-- name: revoke_key
UPDATE api_keys SET revoked_at = coalesce(revoked_at, now())
WHERE tenant_id = %(tenant_id)s AND prefix = %(prefix)s AND scopes <@ %(most_scopes)s::text[]
RETURNING prefix;
