-- What of a restored database is about another server, or another time.

-- name: forget_indices
DELETE FROM search_indices;

-- name: forget_marks
DELETE FROM index_marks;

-- name: adopt_index
INSERT INTO search_indices (month, generation) VALUES (%(month)s, %(generation)s)
ON CONFLICT (month) DO UPDATE SET generation = greatest(search_indices.generation, excluded.generation);

-- name: skip_tenant_ids
-- Numbers that tenants got since the backup are still in the queue, and must not become those of others.
SELECT setval(
    pg_get_serial_sequence('tenants', 'tenant_id')::regclass,
    nextval(pg_get_serial_sequence('tenants', 'tenant_id')::regclass) + 1000
);

-- name: analyze
ANALYZE;

-- name: find_last_instant
-- Of all that is stored, and of all calls that were answered.
SELECT coalesce(
    greatest((SELECT max(received_at) FROM events), (SELECT max(received_at) FROM api_logs)),
    '2000-01-01'
);
