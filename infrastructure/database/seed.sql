-- Demo data: a tenant, and an event type of its own. Idempotent. The demo's events are not here: they are sent
-- through the API (sspp load), like anybody's.

INSERT INTO tenants (slug, name) VALUES ('demo', 'Demo company') ON CONFLICT (slug) DO NOTHING;

INSERT INTO event_types (tenant_id, event_type, version, schema, description, signal_type, signal_score)
SELECT tenant_id,
       'webinar_attended',
       1,
       '{
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "webinar_attended",
            "description": "A customer attended a webinar.",
            "type": "object",
            "properties": {
                "title": {
                    "type": "string", "minLength": 1, "maxLength": 200,
                    "description": "What the webinar was about."
                },
                "minutes": {
                    "type": "number", "minimum": 0, "maximum": 1440,
                    "description": "How long the customer stayed, in minutes."
                }
            },
            "required": ["title"]
        }',
       'A customer attended a webinar.',
       'engagement',
       0.4
FROM tenants
WHERE slug = 'demo'
ON CONFLICT (tenant_id, event_type, version) DO NOTHING;
