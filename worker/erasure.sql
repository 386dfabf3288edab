-- name: next_group
-- Those that are equally far as the one that is due first: they share each step, and one walk through the log.
WITH first AS (
    SELECT state, walked_at, walked_key
    FROM erasures
    WHERE state <> 'done' AND due_at <= clock_timestamp()
    ORDER BY due_at
    LIMIT 1
)
SELECT erasure_id, tenant_id, customer_id, erased_at, state, queue_time, erasures.walked_at, erasures.walked_key
FROM erasures
JOIN first USING (state)
WHERE due_at <= clock_timestamp()
  AND (erasures.walked_at, erasures.walked_key) IS NOT DISTINCT FROM (first.walked_at, first.walked_key)
ORDER BY due_at
LIMIT %(most)s;

-- name: count_due
-- Of all tenants.
SELECT count(*) FROM erasures WHERE state <> 'done' AND due_at <= clock_timestamp();

-- name: advance
UPDATE erasures
SET state = %(state)s,
    queue_time = coalesce(queue_time, %(queue_time)s),
    walked_at = %(walked_at)s,
    walked_key = %(walked_key)s,
    due_at = clock_timestamp()
WHERE erasure_id = ANY (%(erasure_ids)s) AND tenant_id = ANY (%(tenant_ids)s);

-- name: put_off
UPDATE erasures
SET due_at = clock_timestamp() + %(seconds)s * interval '1 second'
WHERE erasure_id = ANY (%(erasure_ids)s) AND tenant_id = ANY (%(tenant_ids)s);

-- name: add_counts
UPDATE erasures
SET counts = jsonb_sum(counts, %(counts)s)
WHERE erasure_id = %(erasure_id)s AND tenant_id = %(tenant_id)s;

-- name: finish
UPDATE erasures
SET state = 'done', customer_id = NULL, walked_at = NULL, walked_key = NULL, finished_at = clock_timestamp()
WHERE erasure_id = %(erasure_id)s AND tenant_id = %(tenant_id)s;

-- name: lock_customer
SELECT FROM customers WHERE tenant_id = %(tenant_id)s AND customer_id = %(customer_id)s FOR UPDATE;

-- name: delete_customer
DELETE FROM customers WHERE tenant_id = %(tenant_id)s AND customer_id = %(customer_id)s;

-- name: list_later_events
-- What came after the erasure was asked for, usually seconds ago.
SELECT event_id, received_at, raw
FROM events
WHERE tenant_id = %(tenant_id)s AND customer_id = %(customer_id)s AND received_at > %(erased_at)s;

-- name: delete_rejected
DELETE FROM rejected_events
WHERE tenant_id = %(tenant_id)s AND customer_id = %(customer_id)s AND received_at <= %(erased_at)s;

-- name: find_signals
SELECT wanted.erasure_id, wanted.tenant_id, found.received_at, found.signal_id
FROM unnest(
    %(erasure_ids)s::uuid[], %(tenant_ids)s::integer[], %(customer_ids)s::text[], %(erased_ats)s::timestamptz[]
) AS wanted (erasure_id, tenant_id, customer_id, erased_at)
CROSS JOIN LATERAL (
    SELECT received_at, signal_id
    FROM signals
    WHERE signals.tenant_id = wanted.tenant_id
      AND signals.customer_id = wanted.customer_id
      AND signals.received_at <= wanted.erased_at
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
        %(erasure_ids)s::uuid[], %(tenant_ids)s::integer[], %(customer_ids)s::text[], %(erased_ats)s::timestamptz[]
    ) AS wanted (erasure_id, tenant_id, customer_id, erased_at)
        ON wanted.tenant_id = page.tenant_id
        AND wanted.customer_id = page.customer_id
        AND wanted.erased_at >= page.received_at
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
