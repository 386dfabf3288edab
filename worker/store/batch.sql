-- name: insert_event_keys
INSERT INTO event_keys (event_key, tenant_id, received_at)
SELECT event_key, tenant_id, received_at
FROM unnest(%(event_keys)s::uuid[], %(tenant_ids)s::integer[], %(received_ats)s::timestamptz[])
    AS batch (event_key, tenant_id, received_at)
-- Two batches that share events lock them in the same order, so they wait and never deadlock.
ORDER BY event_key
ON CONFLICT (event_key) DO NOTHING
RETURNING uuid_send(event_key)

-- name: select_raw_events
SELECT uuid_send(keys.event_key), events.raw
FROM unnest(%(event_keys)s::uuid[], %(tenant_ids)s::integer[]) AS batch (event_key, tenant_id)
JOIN event_keys AS keys ON keys.event_key = batch.event_key AND keys.tenant_id = batch.tenant_id
JOIN events ON events.event_key = keys.event_key AND events.received_at = keys.received_at

-- name: copy_events
COPY events (
    event_key, received_at, batch_id, tenant_id, event_id, event_type, customer_id, occurred_at, trace_id, raw
) FROM STDIN (FORMAT binary)

-- name: copy_signals
COPY signals (
    signal_id, received_at, tenant_id, event_id, event_type, customer_id, signal_type, signal_score, occurred_at,
    trace_id, amount, currency, data
) FROM STDIN (FORMAT binary)

-- name: insert_outbox
INSERT INTO outbox (batch_id, tenant_id, signal_ids, received_from, received_until, trace_context)
VALUES (
    %(batch_id)s, %(tenant_id)s, %(signal_ids)s::uuid[], %(received_from)s, %(received_until)s, %(trace_context)s
)

-- name: insert_usage_parts
INSERT INTO usage_parts (tenant_id, month, batch_id, events)
SELECT tenant_id, month, %(batch_id)s, events
FROM unnest(%(tenant_ids)s::integer[], %(months)s::date[], %(events)s::integer[]) AS counted (tenant_id, month, events)

-- name: upsert_rejected_events
WITH refused AS (
    INSERT INTO rejected_events AS stored (
        rejection_id, tenant_id, event_id, event_type, customer_id, trace_id, received_at, code, detail, path, raw
    )
    SELECT *
    FROM unnest(
        %(rejection_ids)s::uuid[], %(tenant_ids)s::integer[], %(event_ids)s::text[], %(event_types)s::text[],
        %(customer_ids)s::text[], %(trace_ids)s::text[], %(received_ats)s::timestamptz[], %(codes)s::text[],
        %(details)s::text[], %(paths)s::text[], %(raws)s::text[]
    )
    ON CONFLICT (rejection_id) DO UPDATE SET
        code = excluded.code, detail = excluded.detail, path = excluded.path,
        rejected_at = now(), status = 'open', replayed_at = NULL,
        -- What was sent again is as young as the last time: erasures and retention go by that.
        received_at = greatest(stored.received_at, excluded.received_at)
    -- A batch that is merely delivered again leaves the row as it is, and is not counted again.
    WHERE (stored.status, stored.code, stored.detail) IS DISTINCT FROM ('open', excluded.code, excluded.detail)
        OR excluded.received_at > stored.received_at
    RETURNING rejection_id, tenant_id, event_type, rejected_at
)
INSERT INTO schema_violations AS counted (
    tenant_id, event_type, version, path, keyword, events, first_at, last_at, sample_id
)
SELECT tenant_id, event_type, version, place, keyword, count(*), min(rejected_at), max(rejected_at),
       (array_agg(rejection_id))[1]
FROM refused
JOIN unnest(%(rejection_ids)s::uuid[], %(versions)s::integer[], %(places)s::text[], %(keywords)s::text[])
    AS violation (rejection_id, version, place, keyword) USING (rejection_id)
WHERE version IS NOT NULL
GROUP BY tenant_id, event_type, version, place, keyword
-- Two batches that count the same wait for each other in one order.
ORDER BY tenant_id, event_type, version, place, keyword
ON CONFLICT (tenant_id, event_type, version, path, keyword) DO UPDATE SET
    events = counted.events + excluded.events, last_at = excluded.last_at, sample_id = excluded.sample_id

-- name: select_tenant_event_types
-- Without the schema of what is known already: it never changes, and there may be much of it.
SELECT tenant_id, event_type, version, CASE WHEN known.is_known IS NULL THEN schema END, signal_type, signal_score
FROM event_types
LEFT JOIN (
    SELECT tenant_id, event_type, version, true AS is_known
    FROM unnest(%(tenant_ids)s::integer[], %(event_types)s::text[], %(versions)s::integer[])
        AS told (tenant_id, event_type, version)
) AS known USING (tenant_id, event_type, version)
WHERE tenant_id <> 0 AND status <> 'retired'
ORDER BY tenant_id, event_type, version
