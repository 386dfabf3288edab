-- An index holds the month of all tenants, and so does what is compared with it: each row says whose it is.

-- name: count_signals
-- By month; of the months asked for, or of all if none is.
SELECT date_trunc('month', received_at AT TIME ZONE 'UTC')::date AS month, count(*)
FROM signals
WHERE received_at >= coalesce(%(received_from)s, '-infinity'::timestamptz)
  AND received_at < coalesce(%(received_until)s, 'infinity'::timestamptz)
GROUP BY 1;

-- name: list_signals
-- Newest first: what is stored meanwhile lies behind, so a walk ends. One bound at the side where the page begins: with
-- another one beside the comparison of rows, PostgreSQL would read again what came before. The place comes from
-- subqueries, as the planner estimates rows by received_at alone: knowing it, it would take what is left of the many
-- signals of one instant for next to nothing, read all of them for each page and sort them.
SELECT tenant_id, signal_id::text, event_id, event_type, customer_id, signal_type, signal_score, occurred_at, received_at,
       trace_id, amount, currency, data::text
FROM signals
WHERE received_at >= %(received_from)s
  AND (received_at, signal_id) < (
      (SELECT coalesce(%(through_at)s::timestamptz, %(received_until)s)),
      (SELECT coalesce(%(through_id)s::uuid, '00000000-0000-0000-0000-000000000000'))
  )
ORDER BY signals.received_at DESC, signals.signal_id DESC
LIMIT %(limit)s;

-- name: find_signals
SELECT tenant_id, signal_id::text, event_id, event_type, customer_id, signal_type, signal_score, occurred_at, received_at,
       trace_id, amount, currency, data::text
FROM signals_by_id(%(signal_ids)s::uuid[])
WHERE received_at >= %(received_from)s
  AND received_at < %(received_until)s;

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
