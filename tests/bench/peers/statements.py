"""The statements of `work`: plain INSERTs into the platform's own tables, a row at a time."""

INSERT_KEY = """
INSERT INTO event_keys (event_key, tenant_id, received_at) VALUES (%s, %s, %s) ON CONFLICT (event_key) DO NOTHING
"""

INSERT_EVENT = """
INSERT INTO events (
    event_key, received_at, batch_id, tenant_id, event_id, event_type, customer_id, occurred_at, trace_id, raw
) VALUES (%s, %s, 0, %s, %s, %s, %s, %s, %s, %s)
"""

INSERT_SIGNAL = """
INSERT INTO signals (
    signal_id, received_at, tenant_id, event_id, event_type, customer_id, signal_type, signal_score, occurred_at,
    trace_id, amount, currency, data
) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""

UPSERT_CUSTOMER = """
INSERT INTO customers AS stored (
    tenant_id, customer_id, first_seen, last_seen, signal_count, counts, signal_counts, totals, heat
) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (tenant_id, customer_id) DO UPDATE SET
    first_seen = least(stored.first_seen, excluded.first_seen),
    last_seen = greatest(stored.last_seen, excluded.last_seen),
    signal_count = stored.signal_count + excluded.signal_count,
    counts = jsonb_sum(stored.counts, excluded.counts),
    signal_counts = jsonb_sum(stored.signal_counts, excluded.signal_counts),
    totals = CASE WHEN excluded.totals = '{}' THEN stored.totals ELSE jsonb_sum(stored.totals, excluded.totals) END,
    heat = heat_sum(stored.heat, excluded.heat)
"""

SELECT_PROFILE = """
SELECT name, email, phone, custom_fields, tags, profile_versions
FROM customers WHERE tenant_id = %s AND customer_id = %s
"""

UPDATE_PROFILE = """
UPDATE customers
SET name = %s, email = %s, phone = %s, custom_fields = %s, tags = %s, profile_versions = %s
WHERE tenant_id = %s AND customer_id = %s
"""

INSERT_REFUSAL = """
INSERT INTO rejected_events (
    rejection_id, tenant_id, event_id, event_type, customer_id, trace_id, received_at, code, detail, path, raw
) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (rejection_id) DO NOTHING
"""
