-- name: find_keys
-- Keys find their tenants, so this is the one look-up that has no tenant_id to ask with; a prefix is unique.
SELECT prefix, key_id, tenant_id, slug, key_hash, kind, scopes, expires_at, revoked, tenant_status, allowed_origins, plan,
    requests_per_second, events_per_second, monthly_events, events_used
FROM unnest(%(prefixes)s::text[]) AS wanted (prefix)
CROSS JOIN LATERAL identify_api_key(prefix);

-- name: note_key_uses
-- In one order and without waiting: several processes note the same keys, and rotations lock some. A key that is locked
-- is noted with its next use.
UPDATE api_keys SET last_used_at = greatest(api_keys.last_used_at, used.used_at)
FROM (
    SELECT key_id, tenant_id, noted.used_at
    FROM unnest(%(key_ids)s::integer[], %(tenant_ids)s::integer[], %(used_at)s::timestamptz[])
        AS noted (key_id, tenant_id, used_at)
    JOIN api_keys USING (key_id, tenant_id)
    ORDER BY key_id
    FOR UPDATE OF api_keys SKIP LOCKED
) AS used
WHERE api_keys.key_id = used.key_id AND api_keys.tenant_id = used.tenant_id;
