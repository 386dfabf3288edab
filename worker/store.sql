-- name: next_batch_id
-- One number for the whole batch of all tenants; each tenant_id has its own outbox row under it.
SELECT nextval('batch_ids')

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

-- name: upsert_customers
INSERT INTO customers AS stored (
    tenant_id, customer_id, first_seen, last_seen, signal_count, counts, signal_counts, totals, heat
)
SELECT *
FROM unnest(
    %(tenant_ids)s::integer[], %(customer_ids)s::text[], %(first_seen)s::timestamptz[], %(last_seen)s::timestamptz[],
    %(signal_count)s::bigint[], %(counts)s::jsonb[], %(signal_counts)s::jsonb[], %(totals)s::jsonb[],
    %(heat)s::double precision[]
)
ON CONFLICT (tenant_id, customer_id) DO UPDATE SET
    first_seen = least(stored.first_seen, excluded.first_seen),
    last_seen = greatest(stored.last_seen, excluded.last_seen),
    signal_count = stored.signal_count + excluded.signal_count,
    counts = jsonb_sum(stored.counts, excluded.counts),
    signal_counts = jsonb_sum(stored.signal_counts, excluded.signal_counts),
    totals = CASE WHEN excluded.totals = '{}' THEN stored.totals ELSE jsonb_sum(stored.totals, excluded.totals) END,
    heat = heat_sum(stored.heat, excluded.heat)

-- name: select_profiles
-- The upsert of the same transaction holds these rows' locks already.
SELECT tenant_id, customer_id, name, email, phone, custom_fields::text, tags, profile_versions
FROM customers
JOIN unnest(%(tenant_ids)s::integer[], %(customer_ids)s::text[]) AS batch (tenant_id, customer_id)
    USING (tenant_id, customer_id)

-- name: update_profiles
UPDATE customers SET
    name = batch.name, email = batch.email, phone = batch.phone,
    custom_fields = batch.custom_fields, tags = batch.tags, profile_versions = batch.profile_versions
FROM unnest(
    %(tenant_ids)s::integer[], %(customer_ids)s::text[], %(name)s::text[], %(email)s::text[], %(phone)s::text[],
    %(custom_fields)s::jsonb[], %(tags)s::jsonb[], %(profile_versions)s::jsonb[]
) AS batch (tenant_id, customer_id, name, email, phone, custom_fields, tags, profile_versions)
WHERE customers.tenant_id = batch.tenant_id AND customers.customer_id = batch.customer_id

-- name: insert_outbox
INSERT INTO outbox (batch_id, tenant_id, signal_ids, received_from, received_until)
VALUES (%(batch_id)s, %(tenant_id)s, %(signal_ids)s::uuid[], %(received_from)s, %(received_until)s)

-- name: upsert_rejected_events
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
    rejected_at = now(), status = 'open', replayed_at = NULL
-- A batch that is merely delivered again leaves the row as it is.
WHERE (stored.status, stored.code, stored.detail) IS DISTINCT FROM ('open', excluded.code, excluded.detail)

-- name: select_tenant_event_types
SELECT tenant_id, event_type, version, schema, signal_type, signal_score
FROM event_types
WHERE tenant_id <> 0
