-- name: list_platform_types
SELECT event_type, version, schema, description FROM event_types WHERE tenant_id = 0;

-- name: publish_type
INSERT INTO event_types (tenant_id, event_type, version, schema, description)
VALUES (0, %(event_type)s, %(version)s, %(schema)s, %(description)s)
ON CONFLICT (tenant_id, event_type, version) DO UPDATE
SET schema = excluded.schema, description = excluded.description;
