-- name: lock_customer
-- Also says what is known of the customer; heat is a sum of rounded numbers, the same only nearly when made anew.
SELECT to_jsonb(customers) - 'heat'
FROM customers
WHERE tenant_id = %(tenant_id)s AND customer_id = %(customer_id)s
FOR UPDATE;

-- name: delete_customer
DELETE FROM customers WHERE tenant_id = %(tenant_id)s AND customer_id = %(customer_id)s;

-- name: find_erased_at
-- Up to when the customer is erased by now: a later request may be further than this one.
SELECT greatest(
    %(erased_at)s::timestamptz,
    (SELECT erased_at FROM tombstones WHERE tenant_id = %(tenant_id)s AND customer_hash = %(customer_hash)s)
);

-- name: list_later_signals
SELECT event_type, occurred_at, received_at, signal_type, signal_score, amount, currency
FROM signals
WHERE tenant_id = %(tenant_id)s AND customer_id = %(customer_id)s AND received_at > %(erased_at)s;

-- name: list_later_events
-- What came after the erasure was asked for, usually seconds ago.
SELECT uuid_send(event_key), event_id, event_type, occurred_at, received_at, raw
FROM events
WHERE tenant_id = %(tenant_id)s AND customer_id = %(customer_id)s AND received_at > %(erased_at)s;

-- name: delete_rejected
-- They are locked in the order in which batches lock them.
WITH refused AS MATERIALIZED (
    SELECT rejection_id
    FROM rejected_events
    WHERE tenant_id = %(tenant_id)s AND customer_id = %(customer_id)s AND received_at <= %(erased_at)s
    ORDER BY rejection_id
    FOR UPDATE
)
DELETE FROM rejected_events USING refused WHERE rejected_events.rejection_id = refused.rejection_id;

-- name: find_signals
SELECT wanted.erasure_id, wanted.tenant_id, found.received_at, found.signal_id
FROM unnest(
    %(erasure_ids)s::uuid[], %(tenant_ids)s::integer[], %(customer_ids)s::text[], %(erased_afters)s::timestamptz[],
    %(erased_ats)s::timestamptz[]
) AS wanted (erasure_id, tenant_id, customer_id, erased_after, erased_at)
CROSS JOIN LATERAL (
    SELECT received_at, signal_id
    FROM signals
    WHERE signals.tenant_id = wanted.tenant_id
      AND signals.customer_id = wanted.customer_id
      AND signals.received_at <= wanted.erased_at
      AND signals.received_at > coalesce(wanted.erased_after, '-infinity')
    LIMIT %(most)s
) AS found
LIMIT %(most)s;

-- name: find_events
-- One page of the log, of all tenants, from the newest to the oldest: no index finds the events of a customer, and one
-- would cost every event that is stored. The place comes from subqueries for the reason that
-- infrastructure/search/stored.sql gives.
WITH page AS MATERIALIZED (
    SELECT received_at, event_key, tenant_id, customer_id
    FROM events
    WHERE (received_at, event_key) < ((SELECT %(walked_at)s::timestamptz), (SELECT %(walked_key)s::uuid))
    ORDER BY received_at DESC, event_key DESC
    LIMIT %(most)s
), found AS (
    SELECT wanted.erasure_id, page.tenant_id, page.received_at, page.event_key
    FROM page
    JOIN unnest(
        %(erasure_ids)s::uuid[], %(tenant_ids)s::integer[], %(customer_ids)s::text[], %(erased_afters)s::timestamptz[],
        %(erased_ats)s::timestamptz[]
    ) AS wanted (erasure_id, tenant_id, customer_id, erased_after, erased_at)
        ON wanted.tenant_id = page.tenant_id
        AND wanted.customer_id = page.customer_id
        AND wanted.erased_at >= page.received_at
        AND coalesce(wanted.erased_after, '-infinity') < page.received_at
), last AS (
    SELECT received_at, event_key FROM page ORDER BY received_at, event_key LIMIT 1
)
SELECT found.erasure_id, found.tenant_id, found.received_at, found.event_key, last.received_at, last.event_key
FROM last
LEFT JOIN found ON true;

-- name: delete_signal
DELETE FROM signals
WHERE received_at = %(received_at)s AND signal_id = %(id)s AND tenant_id = %(tenant_id)s;

-- name: delete_event
DELETE FROM events
WHERE received_at = %(received_at)s AND event_key = %(id)s AND tenant_id = %(tenant_id)s;
