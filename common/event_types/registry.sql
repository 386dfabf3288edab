-- name: list_types
SELECT slug AS tenant, event_type, version, event_types.status, description, signal_type, signal_score,
       event_types.created_at, schema
FROM event_types JOIN tenants USING (tenant_id)
WHERE tenant_id = %(tenant_id)s OR %(tenant_id)s::integer IS NULL
ORDER BY tenant_id, event_type, version;

-- name: lock_types
SELECT pg_advisory_xact_lock(%(lock_class)s::integer, %(tenant_id)s::integer);

-- name: find_platform_type
SELECT 1 FROM event_types WHERE tenant_id = 0 AND event_type = %(event_type)s LIMIT 1;

-- name: find_current_version
SELECT slug AS tenant, event_type, version, event_types.status, description, signal_type, signal_score,
       event_types.created_at, schema
FROM event_types JOIN tenants USING (tenant_id)
WHERE tenant_id = %(tenant_id)s AND event_type = %(event_type)s AND event_types.status <> 'retired'
ORDER BY version DESC
LIMIT 1;

-- name: matches_version
SELECT 1 FROM event_types
WHERE tenant_id = %(tenant_id)s AND event_type = %(event_type)s AND version = %(version)s
  AND (schema, description, signal_type, signal_score)
    IS NOT DISTINCT FROM (%(schema)s, %(description)s, %(signal_type)s, %(signal_score)s::real);

-- name: add_version
WITH added AS (
    INSERT INTO event_types (tenant_id, event_type, version, schema, description, signal_type, signal_score)
    SELECT
        %(tenant_id)s,
        %(event_type)s,
        1 + coalesce(max(version), 0),
        %(schema)s,
        %(description)s,
        %(signal_type)s,
        %(signal_score)s
    FROM event_types
    WHERE tenant_id = %(tenant_id)s AND event_type = %(event_type)s
    RETURNING *
)
SELECT slug AS tenant, event_type, version, added.status, description, signal_type, signal_score, added.created_at, schema
FROM added JOIN tenants USING (tenant_id);

-- name: load_versions_in_use
SELECT event_type, schema FROM event_types WHERE tenant_id = %(tenant_id)s AND status <> 'retired';

-- name: is_retired
SELECT 1 FROM event_types
WHERE tenant_id = %(tenant_id)s AND event_type = %(event_type)s AND version = %(version)s AND status = 'retired';

-- name: set_status
UPDATE event_types
SET status = %(status)s
FROM tenants
WHERE tenants.tenant_id = event_types.tenant_id
  AND event_types.tenant_id = %(tenant_id)s AND event_type = %(event_type)s AND version = %(version)s
RETURNING slug AS tenant, event_type, version, event_types.status, description, signal_type, signal_score,
    event_types.created_at, schema;
