-- What must be there of the events that were sent, and what is, table by table. Both sides have a row for each row of the
-- table, so that doubles are noticed too. Rows that belong together have the same received_at: partitions go by it.

-- name: create_wanted
CREATE TEMPORARY TABLE wanted (
    tenant_id integer, event_key uuid, event_id text, event_type text, customer_id text, occurred_at timestamptz,
    trace_id text, raw_hash uuid, is_valid boolean, signal_id uuid, amount numeric, currency text, name text
)

-- name: wanted_events
SELECT tenant_id, event_key, event_id, event_type, customer_id, occurred_at, trace_id, raw_hash
FROM wanted
WHERE is_valid

-- name: found_events
SELECT tenant_id, event_key, event_id, event_type, customer_id, occurred_at, trace_id, md5(raw)::uuid
FROM events
WHERE received_at >= %(since)s

-- name: wanted_event_keys
SELECT tenant_id, event_key, true AS has_event
FROM wanted
WHERE is_valid

-- name: found_event_keys
SELECT k.tenant_id, k.event_key, events.event_id IS NOT NULL
FROM event_keys AS k
LEFT JOIN events
    ON events.event_key = k.event_key AND events.received_at = k.received_at AND events.received_at >= %(since)s
WHERE k.received_at >= %(since)s

-- name: wanted_signals
SELECT tenant_id, signal_id, event_id, event_type, customer_id, occurred_at, trace_id, amount, currency,
    true AS has_event
FROM wanted
WHERE is_valid AND signal_id IS NOT NULL

-- name: found_signals
-- Signal number 0 of an event has the event's key as its id.
SELECT s.tenant_id, signal_id, s.event_id, s.event_type, s.customer_id, s.occurred_at, s.trace_id, amount, currency,
    events.event_key IS NOT NULL
FROM signals AS s
LEFT JOIN events
    ON events.event_key = signal_id AND events.received_at = s.received_at AND events.received_at >= %(since)s
WHERE s.received_at >= %(since)s

-- name: wanted_outbox
SELECT tenant_id, signal_id
FROM wanted
WHERE is_valid AND signal_id IS NOT NULL

-- name: found_outbox
SELECT tenant_id, unnest(signal_ids)
FROM outbox
WHERE received_from >= %(since)s

-- name: wanted_rejected_events
SELECT tenant_id, event_id, event_type, customer_id, trace_id, raw_hash
FROM wanted
WHERE NOT is_valid

-- name: found_rejected_events
SELECT tenant_id, event_id, event_type, customer_id, trace_id, md5(raw)::uuid
FROM rejected_events
WHERE received_at >= %(since)s

-- name: list_customers
SELECT tenant_id, customer_id, signal_count, counts::text, totals::text, name,
    (profile_versions #>> '{name,0}')::timestamptz, profile_versions #>> '{name,1}'
FROM customers
WHERE %(ids)s::text[] IS NULL OR customer_id = ANY (%(ids)s::text[])

-- name: sum_customers
SELECT count(*), coalesce(sum(signal_count), 0)::bigint
FROM customers
