-- Tenants themselves: here a statement names a tenant by its slug.

-- name: find_tenant
SELECT tenant_id, slug, name, status, status_since, plan, allowed_origins, retention_days, created_at FROM tenants WHERE slug = %(slug)s;

-- name: list_tenants
SELECT tenant_id, slug, name, status, status_since, plan, allowed_origins, retention_days, created_at
FROM tenants
WHERE tenant_id > coalesce(%(after)s, -1)
ORDER BY tenant_id
LIMIT %(limit)s;

-- name: create_tenant
INSERT INTO tenants (slug, name, plan)
VALUES (%(slug)s, %(name)s, %(plan)s)
RETURNING tenant_id, slug, name, status, status_since, plan, allowed_origins, retention_days, created_at;

-- name: set_status
-- A tenant that is deleted stays so.
UPDATE tenants
SET status = %(status)s, status_since = CASE WHEN status = %(status)s THEN status_since ELSE now() END
WHERE slug = %(slug)s AND status <> 'deleted' AND tenant_id <> 0
RETURNING tenant_id, slug, name, status, status_since, plan, allowed_origins, retention_days, created_at;

-- name: change_tenant
-- What is NULL stays as it is; and a tenant that is deleted stays as it was, but for how long its data is kept.
UPDATE tenants
SET plan = coalesce(%(plan)s::text, plan),
    allowed_origins = coalesce(%(allowed_origins)s::text[], allowed_origins),
    retention_days = nullif(coalesce(%(retention_days)s, retention_days, 0), 0)
WHERE slug = %(slug)s
  AND (status <> 'deleted' OR (%(plan)s::text IS NULL AND %(allowed_origins)s::text[] IS NULL))
RETURNING tenant_id, slug, name, status, status_since, plan, allowed_origins, retention_days, created_at;
