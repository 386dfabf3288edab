-- name: list_tombstones
SELECT slug, tenant_id, encode(customer_hash, 'hex'), erased_at, suppressed_at
FROM tombstones
JOIN tenants USING (tenant_id)
ORDER BY tenant_id, customer_hash;

-- name: list_revoked_keys
SELECT prefix, revoked_at FROM api_keys WHERE revoked_at IS NOT NULL ORDER BY prefix;

-- name: list_ended_tenants
SELECT slug, tenant_id, status, status_since FROM tenants WHERE status <> 'active' ORDER BY tenant_id;

-- name: find_now
SELECT clock_timestamp();

-- name: add_tombstones
-- Of tenants that are the same by number and name. Returned is who was erased since, or further than the backup knows.
WITH given AS (
    SELECT tenant_id, decode(hash, 'hex') AS customer_hash, erased_at, suppressed_at
    FROM unnest(
        %(slugs)s::text[], %(tenant_ids)s::integer[], %(hashes)s::text[], %(erased_ats)s::timestamptz[],
        %(suppressed_ats)s::timestamptz[]
    ) AS each (slug, tenant_id, hash, erased_at, suppressed_at)
    JOIN tenants USING (tenant_id, slug)
), before AS MATERIALIZED (
    SELECT given.tenant_id, given.customer_hash, tombstones.erased_at
    FROM given
    LEFT JOIN tombstones USING (tenant_id, customer_hash)
), added AS (
    INSERT INTO tombstones AS known (tenant_id, customer_hash, erased_at, suppressed_at)
    SELECT tenant_id, customer_hash, erased_at, suppressed_at FROM given
    ON CONFLICT (tenant_id, customer_hash) DO UPDATE
    SET erased_at = greatest(known.erased_at, excluded.erased_at), suppressed_at = excluded.suppressed_at
)
SELECT given.tenant_id, given.customer_hash, given.erased_at
FROM given
JOIN before USING (tenant_id, customer_hash)
WHERE given.erased_at > coalesce(before.erased_at, '-infinity');

-- name: list_customers
-- Everyone of whom something is stored, of these tenants.
SELECT tenant_id, customer_id FROM customers WHERE tenant_id = ANY (%(tenant_ids)s)
UNION
SELECT tenant_id, customer_id FROM rejected_events WHERE tenant_id = ANY (%(tenant_ids)s)
UNION
SELECT tenant_id, customer_id FROM events WHERE tenant_id = ANY (%(tenant_ids)s);

-- name: request_erasure
INSERT INTO erasures (erasure_id, tenant_id, customer_hash, customer_id, erased_at)
VALUES (%(erasure_id)s, %(tenant_id)s, %(customer_hash)s, %(customer_id)s, %(erased_at)s);

-- name: begin_again
-- What was waited for were transactions of another server. Steps may be repeated.
UPDATE erasures
SET state = 'requested', awaited = '{}', queue_time = NULL, walked_at = NULL, walked_key = NULL,
    due_at = clock_timestamp()
WHERE state <> 'done';

-- name: revoke_keys
UPDATE api_keys
SET revoked_at = given.revoked_at
FROM unnest(%(prefixes)s::text[], %(revoked_ats)s::timestamptz[]) AS given (prefix, revoked_at)
WHERE api_keys.prefix = given.prefix AND api_keys.revoked_at IS NULL;

-- name: end_tenants
UPDATE tenants
SET status = given.status, status_since = given.status_since
FROM unnest(
    %(slugs)s::text[], %(tenant_ids)s::integer[], %(statuses)s::text[], %(sinces)s::timestamptz[]
) AS given (slug, tenant_id, status, status_since)
WHERE tenants.tenant_id = given.tenant_id AND tenants.slug = given.slug AND tenants.status_since < given.status_since;
