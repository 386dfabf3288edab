-- Tenants themselves: here a statement names a tenant by its slug.

-- name: find_tenant
SELECT tenant_id FROM tenants WHERE slug = %(slug)s;

-- name: list_tenants
SELECT tenant_id, slug, name, created_at FROM tenants ORDER BY tenant_id;

-- name: create_tenant
INSERT INTO tenants (slug, name) VALUES (%(slug)s, %(name)s) RETURNING tenant_id, slug, name, created_at;
