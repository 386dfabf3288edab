-- The outbox, and with it each statement here, spans all tenants: one drain serves them all, and every row and id
-- that it touches stays paired with its tenant.

-- name: lock_pending_batches
-- Read through a cursor: a row is locked when it is fetched, so others find what this drain leaves. First what is
-- due first, not what is oldest: rows that are put off again and again take turns with newer ones.
SELECT batch_id, tenant_id, signal_ids::text[], attempts, received_from, received_until
FROM outbox
WHERE indexed_at IS NULL
  AND coalesce(put_off_until, created_at) <= now()
ORDER BY coalesce(put_off_until, created_at), batch_id
LIMIT 500
FOR UPDATE SKIP LOCKED;

-- name: select_trace_contexts
SELECT DISTINCT outbox.trace_context
FROM outbox
JOIN unnest(%(batch_ids)s::bigint[], %(tenant_ids)s::integer[]) AS due (batch_id, tenant_id)
    ON outbox.batch_id = due.batch_id AND outbox.tenant_id = due.tenant_id
WHERE outbox.trace_context IS NOT NULL
LIMIT %(most)s;

-- name: estimate_backlog
-- Cheap, as it is asked each second: sizes instead of lengths (16 bytes an id), so that no array is unpacked.
-- What is put off does not count before it is due: a drain that ends would wake the next one for nothing.
SELECT coalesce(sum(greatest(1, (pg_column_size(signal_ids) - 24) / 16)), 0)::bigint
FROM (
    SELECT signal_ids
    FROM outbox
    WHERE indexed_at IS NULL
      AND coalesce(put_off_until, created_at) <= now()
    LIMIT 1000
) AS pending;

-- name: read_signals
-- A signal's key tells when it was received, and so the only partition that has it: the row's span is for the months'
-- indices alone.
SELECT tenant_id, signal_id::text, event_id, event_type, customer_id, signal_type, signal_score, occurred_at, received_at,
       trace_id, amount, currency, data::text
FROM signals_by_id(%(signal_ids)s::uuid[])
WHERE tenant_id = ANY(%(tenant_ids)s::integer[]);

-- name: mark_indexed
-- clock_timestamp: now() would be an instant before the documents were written.
UPDATE outbox
SET indexed_at = clock_timestamp()
FROM unnest(%(batch_ids)s::bigint[], %(tenant_ids)s::integer[]) AS done (batch_id, tenant_id)
WHERE outbox.batch_id = done.batch_id
  AND outbox.tenant_id = done.tenant_id;

-- name: put_off
UPDATE outbox
SET attempts = outbox.attempts + 1,
    put_off_until = clock_timestamp() + late.pause_seconds * interval '1 second'
FROM unnest(%(batch_ids)s::bigint[], %(tenant_ids)s::integer[], %(pauses)s::double precision[])
    AS late (batch_id, tenant_id, pause_seconds)
WHERE outbox.batch_id = late.batch_id
  AND outbox.tenant_id = late.tenant_id;
