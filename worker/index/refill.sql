-- An index holds signals of all tenants, and so does its mark. Outbox rows stay paired with their tenants.

-- name: lock_refill
SELECT index_name, received_from, received_until, refilled_through_at, refilled_through_id::text
FROM index_marks
WHERE refilled_through IS NOT NULL
ORDER BY received_from DESC
LIMIT 1
FOR UPDATE SKIP LOCKED;

-- name: refill_outbox
-- One batch, with a row for each tenant that has signals in this slice: a page of the month, read as
-- infrastructure/search/stored.sql reads one.
WITH slice AS MATERIALIZED (
    SELECT tenant_id, signal_id, received_at
    FROM signals
    WHERE received_at >= %(received_from)s
      AND (received_at, signal_id) < (
          (SELECT coalesce(%(through_at)s::timestamptz, %(received_until)s)),
          (SELECT coalesce(%(through_id)s::uuid, '00000000-0000-0000-0000-000000000000'))
      )
    ORDER BY received_at DESC, signal_id DESC
    LIMIT %(signals)s
), added AS (
    INSERT INTO outbox (batch_id, tenant_id, signal_ids, received_from, received_until, attempts)
    SELECT (SELECT nextval('batch_ids')), tenant_id, array_agg(signal_id), min(received_at), max(received_at), -1
    FROM slice
    GROUP BY tenant_id
)
SELECT count(*) OVER (), slice.received_at, slice.signal_id::text
FROM slice
ORDER BY slice.received_at, slice.signal_id
LIMIT 1;

-- name: advance_refill
UPDATE index_marks
SET refilled_through_at = %(through_at)s, refilled_through_id = %(through_id)s::uuid
WHERE index_name = %(index_name)s;

-- name: finish_refill
UPDATE index_marks
SET refilled_through = NULL, refilled_through_at = NULL, refilled_through_id = NULL
WHERE index_name = %(index_name)s;
