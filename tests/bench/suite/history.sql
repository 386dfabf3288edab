-- A past of a database: what its tables would hold had so many events come in. Rows follow from their numbers alone.

-- name: list_indexes
-- Indexes and constraints of the tables to fill, to make again afterwards: sorting once is quicker than inserting.
SELECT relation.relname AS table_name, index.relname AS name, pg_get_indexdef(index.oid) AS definition,
    pg_get_constraintdef(made_by.oid) AS key_definition, made_by.conname AS key_name,
    coalesce(index.reloptions, '{}') AS options
FROM pg_index
JOIN pg_class AS index ON index.oid = indexrelid
JOIN pg_class AS relation ON relation.oid = indrelid
LEFT JOIN pg_constraint AS made_by ON made_by.conindid = index.oid AND made_by.contype = 'p'
WHERE relation.relname IN ('event_keys', 'events', 'signals', 'customers')
ORDER BY table_name, name;

-- name: create_kinds
-- What events are about, in hundredths of all events, as in events.py.
CREATE TEMPORARY TABLE kinds AS
SELECT share, event_type, signal_type, score::real, fields
FROM generate_series(0, 99) AS share
JOIN (
    VALUES
    (0, 34, 'page_viewed', 'engagement', 0.1, '"url":"https://shop.example/product/air-compressor","duration_seconds":97'),
    (35, 49, 'email_opened', 'engagement', 0.2, '"message_id":"<9d1c33aa51f0@mail.example>","subject":"Your offer"'),
    (50, 59, 'cart_abandoned', 'high_intent', 0.6, '"amount":"1249.90","currency":"EUR","quantity":3'),
    (60, 69, 'call_made', 'outreach', 0.3, '"duration_seconds":312,"outcome":"connected","agent":"agent-17"'),
    (70, 79, 'inquiry', 'intent', 0.5, '"message":"What would 12 pieces cost?","channel":"web"'),
    (80, 97, 'purchase', 'revenue', 0.9, '"amount":"499.90","currency":"USD","quantity":2,"channel":"store"'),
    (98, 99, 'refund', 'churn_risk', 0.4, '"amount":"49.90","currency":"USD","reason":"damaged"')
) AS kind (low, high, event_type, signal_type, score, fields) ON share BETWEEN low AND high;

-- name: create_customer_id
-- The first 5,000 are those of the workload in events.py; the others lie between them.
CREATE OR REPLACE FUNCTION pg_temp.customer_id(number bigint) RETURNS text LANGUAGE sql AS $$
SELECT 'customer-' || lpad((number % 5000)::text, 5, '0') || CASE WHEN number < 5000 THEN '' ELSE '-' || number / 5000 END
$$;

-- name: create_numbered
-- The events of one period, in the order in which they came. event_key and trace_id are as random as hashes are.
CREATE OR REPLACE FUNCTION pg_temp.numbered(
    low bigint, high bigint, starts timestamptz, ends timestamptz, customers integer
) RETURNS TABLE (
    number bigint, digest text, event_key uuid, received_at timestamptz, occurred_at timestamptz, customer_id text,
    share integer
) LANGUAGE sql AS $$
SELECT number, digest, (left(digest, 30) || '00')::uuid, at, at - (number % 600) * interval '1 second',
    pg_temp.customer_id(customer), (abs(hashint8extended(number, 2)) % 100)::integer
FROM generate_series(low, high - 1) AS number,
    LATERAL (
        SELECT md5(number::text) AS digest,
            abs(hashint8extended(number, 1)) % customers AS customer,
            starts + (ends - starts) * ((number - low)::double precision / (high - low)) AS at
    ) AS rolled
$$;

-- name: fill_event_keys
INSERT INTO event_keys (event_key, tenant_id, received_at)
SELECT event_key, %(tenant_id)s, received_at
FROM pg_temp.numbered(%(low)s, %(high)s, %(starts)s, %(ends)s, %(customers)s);

-- name: fill_events
INSERT INTO events (
    event_key, received_at, batch_id, tenant_id, event_id, event_type, customer_id, occurred_at, trace_id, raw
)
SELECT event_key, received_at, 0, %(tenant_id)s, 'past-' || number, event_type, customer_id, occurred_at, digest,
    concat(
        '{"event_id":"past-', number, '","event_type":"', event_type, '","customer_id":"', customer_id,
        '","occurred_at":"2026-10-01T00:00:00+00:00","trace_id":"', digest, '","data":{', fields,
        ',"source":{"system":"shop","version":"4.2","region":"partner","sequence":', number,
        '},"note":"', repeat('delivery pricing contract discount ', 1 + share %% 5), '"}}'
    )
FROM pg_temp.numbered(%(low)s, %(high)s, %(starts)s, %(ends)s, %(customers)s) JOIN kinds USING (share);

-- name: fill_signals
INSERT INTO signals (
    signal_id, received_at, tenant_id, event_id, event_type, customer_id, signal_type, signal_score, occurred_at,
    trace_id, amount, currency, data
)
SELECT event_key, received_at, %(tenant_id)s, 'past-' || number, event_type, customer_id, signal_type, score,
    occurred_at, digest, CASE WHEN signal_type = 'revenue' THEN 499.90 END,
    CASE WHEN signal_type = 'revenue' THEN 'USD' END,
    concat(
        '{', fields, ',"source":{"system":"shop","version":"4.2","region":"partner","sequence":', number,
        '},"note":"', repeat('delivery pricing contract discount ', 1 + share %% 5), '"}'
    )::jsonb
FROM pg_temp.numbered(%(low)s, %(high)s, %(starts)s, %(ends)s, %(customers)s) JOIN kinds USING (share);

-- name: fill_customers
-- In no order: customers come as they come.
INSERT INTO customers (
    tenant_id, customer_id, name, email, first_seen, last_seen, signal_count, counts, signal_counts, totals, heat
)
SELECT %(tenant_id)s, pg_temp.customer_id(customer), 'Customer ' || customer, 'customer' || customer || '@mail.example', %(starts)s, %(ends)s, 50,
    '{"page_viewed": 18, "email_opened": 7, "cart_abandoned": 5, "call_made": 5, "inquiry": 5, "purchase": 9, "refund": 1}',
    '{"engagement": 25, "high_intent": 5, "outreach": 5, "intent": 5, "revenue": 9, "churn_risk": 1}',
    '{"USD": 4449.20}', 320 + abs(hashint8extended(customer, 3)) %% 1000000 / 100000.0
FROM generate_series(0::bigint, %(customers)s - 1) AS customer
ORDER BY hashint8extended(customer, 4);
