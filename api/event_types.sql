-- name: list_event_types
-- tenant_id 0 is the platform, whose types everyone has.
SELECT tenant_id, event_type, version, description, signal_type, signal_score, schema::text AS schema
FROM event_types
WHERE tenant_id IN (0, %(tenant_id)s)
    AND (
        %(after_type)s::text IS NULL
        OR (event_type, tenant_id, version) > (%(after_type)s::text, %(after_tenant)s::integer, %(after_version)s::integer)
    )
ORDER BY event_type, tenant_id, version
LIMIT %(limit)s;
