-- name: request_erasure
-- The tombstone is there with the request: what is stored from then on sees it.
WITH tombstone AS (
    INSERT INTO tombstones AS known (tenant_id, customer_hash, erased_at)
    VALUES (%(tenant_id)s, %(customer_hash)s, %(now)s)
    ON CONFLICT (tenant_id, customer_hash) DO UPDATE SET erased_at = greatest(known.erased_at, excluded.erased_at)
)
INSERT INTO erasures (erasure_id, tenant_id, customer_hash, customer_id, erased_at)
VALUES (%(erasure_id)s, %(tenant_id)s, %(customer_hash)s, %(customer_id)s, %(now)s)
RETURNING erasure_id, erased_at, state, counts::text AS counts, finished_at;

-- name: find_erasure
SELECT erasure_id, erased_at, state, counts::text AS counts, finished_at
FROM erasures
WHERE tenant_id = %(tenant_id)s AND erasure_id = %(erasure_id)s;

-- name: list_erasures
SELECT erasure_id, erased_at, state, counts::text AS counts, finished_at
FROM erasures
WHERE tenant_id = %(tenant_id)s
    AND (erased_at, erasure_id) < (
        coalesce(%(after_at)s::timestamptz, 'infinity'),
        coalesce(%(after_id)s::uuid, '00000000-0000-0000-0000-000000000000')
    )
ORDER BY erased_at DESC, erasure_id DESC
LIMIT %(limit)s;

-- name: suppress
INSERT INTO tombstones AS known (tenant_id, customer_hash, suppressed_at)
VALUES (%(tenant_id)s, %(customer_hash)s, %(now)s)
ON CONFLICT (tenant_id, customer_hash) DO UPDATE SET suppressed_at = coalesce(known.suppressed_at, excluded.suppressed_at)
RETURNING suppressed_at;

-- name: find_suppression
SELECT suppressed_at
FROM tombstones
WHERE tenant_id = %(tenant_id)s AND customer_hash = %(customer_hash)s AND suppressed_at IS NOT NULL;

-- name: end_suppression
UPDATE tombstones SET suppressed_at = NULL
WHERE tenant_id = %(tenant_id)s AND customer_hash = %(customer_hash)s;
