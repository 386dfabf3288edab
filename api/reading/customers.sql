-- name: find_customer
SELECT customer_id, name, email, phone, custom_fields::text AS custom_fields, tags::text AS tags, signal_count,
    counts::text AS counts, signal_counts::text AS signal_counts, heat, first_seen, last_seen,
    (SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each_text(totals))::text AS totals
FROM customers
WHERE tenant_id = %(tenant_id)s AND customer_id = %(customer_id)s;

-- name: list_hottest
SELECT customer_id, name, email, phone, custom_fields::text AS custom_fields, tags::text AS tags, signal_count,
    counts::text AS counts, signal_counts::text AS signal_counts, heat, first_seen, last_seen,
    (SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each_text(totals))::text AS totals
FROM customers
WHERE tenant_id = %(tenant_id)s
ORDER BY heat DESC NULLS LAST, customer_id
LIMIT %(limit)s;

-- name: list_cooler
-- What follows (heat, customer_id) in the order of the index, as the three ranges of it that the order allows.
SELECT customer_id, name, email, phone, custom_fields::text AS custom_fields, tags::text AS tags, signal_count,
    counts::text AS counts, signal_counts::text AS signal_counts, heat, first_seen, last_seen,
    (SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each_text(totals))::text AS totals
FROM (
    (
        SELECT * FROM customers
        WHERE tenant_id = %(tenant_id)s
            AND heat = %(after_heat)s::double precision
            AND customer_id > %(after_id)s::text
        ORDER BY customer_id
        LIMIT %(limit)s
    )
    UNION ALL
    (
        SELECT * FROM customers
        WHERE tenant_id = %(tenant_id)s AND heat < %(after_heat)s::double precision
        ORDER BY heat DESC NULLS LAST, customer_id
        LIMIT %(limit)s
    )
    UNION ALL
    (
        SELECT * FROM customers
        WHERE tenant_id = %(tenant_id)s AND heat IS NULL
        ORDER BY customer_id
        LIMIT %(limit)s
    )
) AS following
ORDER BY heat DESC NULLS LAST, customer_id
LIMIT %(limit)s;

-- name: list_without_heat
SELECT customer_id, name, email, phone, custom_fields::text AS custom_fields, tags::text AS tags, signal_count,
    counts::text AS counts, signal_counts::text AS signal_counts, heat, first_seen, last_seen,
    (SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each_text(totals))::text AS totals
FROM customers
WHERE tenant_id = %(tenant_id)s AND heat IS NULL AND customer_id > %(after_id)s::text
ORDER BY customer_id
LIMIT %(limit)s;

-- name: list_by_id
SELECT customer_id, name, email, phone, custom_fields::text AS custom_fields, tags::text AS tags, signal_count,
    counts::text AS counts, signal_counts::text AS signal_counts, heat, first_seen, last_seen,
    (SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each_text(totals))::text AS totals
FROM customers
WHERE tenant_id = %(tenant_id)s AND customer_id > coalesce(%(after_id)s::text, '')
ORDER BY customer_id
LIMIT %(limit)s;
