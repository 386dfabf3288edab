-- name: list_event_types
-- tenant_id 0 is the platform, whose types everyone has.
SELECT tenant_id <> 0 AS own, event_type, version, status, description, signal_type, signal_score, created_at,
    schema::text AS schema
FROM event_types
WHERE tenant_id IN (0, %(tenant_id)s)
    AND (%(event_type)s::text IS NULL OR event_type = %(event_type)s::text)
    AND (
        %(after_type)s::text IS NULL
        OR (event_type, tenant_id <> 0, version)
            > (%(after_type)s::text, %(after_own)s::boolean, %(after_version)s::integer)
    )
ORDER BY event_type, own, version
LIMIT %(limit)s;

-- name: find_version
-- The platform's go first, as they do when events are validated.
SELECT tenant_id <> 0 AS own, event_type, version, status, description, signal_type, signal_score, created_at,
    schema::text AS schema
FROM event_types
WHERE tenant_id IN (0, %(tenant_id)s) AND event_type = %(event_type)s AND version = %(version)s
ORDER BY tenant_id
LIMIT 1;

-- name: find_type
SELECT 1 FROM event_types WHERE tenant_id IN (0, %(tenant_id)s) AND event_type = %(event_type)s LIMIT 1;

-- name: list_violations
-- The sample may have been deleted, corrected or refused for something else since.
SELECT violation.version, violation.path, keyword, events, first_at, last_at,
    rejected.rejection_id::text AS rejection_id, rejected.event_id, rejected.detail
FROM schema_violations AS violation
LEFT JOIN rejected_events AS rejected
    ON rejected.rejection_id = sample_id AND rejected.tenant_id = violation.tenant_id
    AND rejected.code = 'schema_violation' AND rejected.rejected_at = last_at
WHERE violation.tenant_id = %(tenant_id)s AND violation.event_type = %(event_type)s
    AND (
        %(after_version)s::integer IS NULL
        OR (-violation.version, violation.path, keyword)
            > (-%(after_version)s::integer, %(after_path)s::text, %(after_keyword)s::text)
    )
ORDER BY violation.version DESC, violation.path, keyword
LIMIT %(limit)s;
