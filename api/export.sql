-- name: list_rejections_of_customer
SELECT rejection_id, event_id, event_type, customer_id, trace_id, code, detail, path, received_at, rejected_at,
    status, replayed_at, raw
FROM rejected_events
WHERE tenant_id = %(tenant_id)s
    AND customer_id = %(customer_id)s
    AND (rejected_at, rejection_id) > (
        coalesce(%(after_at)s::timestamptz, '-infinity'),
        coalesce(%(after_id)s::uuid, '00000000-0000-0000-0000-000000000000')
    )
ORDER BY rejected_at, rejection_id
LIMIT %(limit)s;

-- name: list_events_of_customer
-- The customer's among the next events of the tenant, and where these end: no index finds a customer's events, and one
-- would cost every event that is stored.
WITH page AS MATERIALIZED (
    SELECT received_at, event_key, event_id, event_type, customer_id, occurred_at, trace_id,
        CASE WHEN customer_id = %(customer_id)s THEN raw END AS raw
    FROM events
    WHERE tenant_id = %(tenant_id)s
        AND (received_at, event_key) > (
            coalesce(%(after_at)s::timestamptz, '-infinity'),
            coalesce(%(after_id)s::uuid, '00000000-0000-0000-0000-000000000000')
        )
    ORDER BY received_at, event_key
    LIMIT %(limit)s
), last AS (
    SELECT received_at AS last_at, event_key AS last_key FROM page ORDER BY received_at DESC, event_key DESC LIMIT 1
)
SELECT last_at, last_key, event_id, event_type, occurred_at, received_at, trace_id, raw
FROM last
LEFT JOIN page ON page.raw IS NOT NULL
ORDER BY received_at, event_key;
