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

-- name: look_through_log
-- Where a customer's are among the next events of the log, and where these end: no index finds a customer's events, nor
-- a tenant's, and one would cost every event that is stored.
SELECT last_at, last_key, received_at, event_key
FROM look_through_log(
    %(customer_id)s,
    coalesce(%(after_at)s::timestamptz, '-infinity'),
    coalesce(%(after_id)s::uuid, '00000000-0000-0000-0000-000000000000'),
    %(limit)s
);

-- name: list_events
-- One by one: a plan for all of them might read whole partitions.
SELECT found.*
FROM unnest(%(received_ats)s::timestamptz[], %(event_keys)s::uuid[]) AS wanted (received_at, event_key)
CROSS JOIN LATERAL (
    SELECT event_id, event_type, occurred_at, received_at, trace_id, raw
    FROM events
    WHERE tenant_id = %(tenant_id)s
        AND events.received_at = wanted.received_at
        AND events.event_key = wanted.event_key
    LIMIT 1
) AS found;
