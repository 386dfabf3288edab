-- name: list_platform_types
SELECT event_type, version, schema, description FROM event_types WHERE tenant_id = 0;

-- name: publish_type
INSERT INTO event_types (tenant_id, event_type, version, schema, description)
VALUES (0, %(event_type)s, %(version)s, %(schema)s, %(description)s)
ON CONFLICT (tenant_id, event_type, version) DO UPDATE
SET schema = excluded.schema, description = excluded.description;

-- name: list_types
SELECT slug AS tenant, event_type, version, description, signal_type, signal_score, schema
FROM event_types JOIN tenants USING (tenant_id)
WHERE tenant_id = %(tenant_id)s OR %(tenant_id)s::integer IS NULL
ORDER BY tenant_id, event_type, version;

-- name: find_platform_type
SELECT 1 FROM event_types WHERE tenant_id = 0 AND event_type = %(event_type)s LIMIT 1;

-- name: add_type
INSERT INTO event_types (tenant_id, event_type, version, schema, description, signal_type, signal_score)
VALUES (%(tenant_id)s, %(event_type)s, %(version)s, %(schema)s, %(description)s, %(signal_type)s, %(signal_score)s)
ON CONFLICT (tenant_id, event_type, version) DO NOTHING
RETURNING version;

-- name: match_type
SELECT 1 FROM event_types
WHERE tenant_id = %(tenant_id)s AND event_type = %(event_type)s AND version = %(version)s
  AND (schema, description, signal_type, signal_score)
    = (%(schema)s, %(description)s, %(signal_type)s, %(signal_score)s::real);
