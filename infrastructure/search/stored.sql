-- An index holds the month of all tenants, and so does what is compared with it: each row says whose it is.

-- name: count_signals
-- By month; of the months asked for, or of all if none is.
SELECT date_trunc('month', received_at AT TIME ZONE 'UTC')::date AS month, count(*)
FROM signals
WHERE received_at >= coalesce(%(received_from)s, '-infinity'::timestamptz)
  AND received_at < coalesce(%(received_until)s, 'infinity'::timestamptz)
GROUP BY 1;

-- name: list_signals
-- A page of the month in the order of ids, which is that of the keys; each leads to its signals in their partition.
-- LIMIT: an event has no more signals, and the planner no other way but to ask key by key.
SELECT found.tenant_id, found.signal_id::text, found.event_id, found.event_type, found.customer_id, found.signal_type,
       found.signal_score, found.occurred_at, found.received_at, found.trace_id, found.amount, found.currency,
       found.data::text
FROM event_keys AS keys
CROSS JOIN LATERAL (
    SELECT *
    FROM signals
    WHERE signals.received_at = keys.received_at
      AND signals.received_at >= %(received_from)s
      AND signals.received_at < %(received_until)s
      AND signals.signal_id BETWEEN keys.event_key AND overlay(keys.event_key::text PLACING 'ff' FROM 35)::uuid
      AND signals.signal_id > %(after)s::uuid
    LIMIT 256
) AS found
WHERE keys.event_key >= event_key_of(%(after)s::uuid)
  AND keys.received_at >= %(received_from)s
  AND keys.received_at < %(received_until)s
ORDER BY keys.event_key, found.signal_id
LIMIT %(limit)s;

-- name: find_signals
-- Id by id, as in worker/outbox.sql.
SELECT found.tenant_id, found.signal_id::text, found.event_id, found.event_type, found.customer_id, found.signal_type,
       found.signal_score, found.occurred_at, found.received_at, found.trace_id, found.amount, found.currency,
       found.data::text
FROM (SELECT DISTINCT unnest(%(signal_ids)s::uuid[]) AS signal_id) AS wanted
JOIN event_keys AS keys ON keys.event_key = event_key_of(wanted.signal_id)
CROSS JOIN LATERAL (
    SELECT *
    FROM signals
    WHERE signals.received_at = keys.received_at
      AND signals.signal_id = wanted.signal_id
      AND signals.received_at >= %(received_from)s
      AND signals.received_at < %(received_until)s
    LIMIT 1
) AS found;

-- name: find_pending
SELECT DISTINCT pending.signal_id::text
FROM outbox, unnest(outbox.signal_ids) AS pending (signal_id)
WHERE outbox.indexed_at IS NULL
  AND outbox.signal_ids && %(signal_ids)s::uuid[]
  AND pending.signal_id = ANY(%(signal_ids)s::uuid[]);

-- name: find_refusals
SELECT signal_id::text, status, reason
FROM index_failures
WHERE signal_id = ANY(%(signal_ids)s::uuid[]);
