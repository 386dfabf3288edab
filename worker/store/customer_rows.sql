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
