-- name: find_schema_version
-- schema_migrations is about the database as a whole: the one table without tenants.
SELECT coalesce(max(version), 0) AS version FROM schema_migrations;
