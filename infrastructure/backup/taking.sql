-- A backup is of all tenants: these statements know none.

-- name: wait_for_nothing
SELECT set_config('statement_timeout', '0', false), set_config('idle_in_transaction_session_timeout', '0', false);

-- name: find_newest_event
SELECT max(received_at) FROM events;

-- name: export_snapshot
SELECT pg_export_snapshot(), now();

-- name: find_owner
SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'events'::regclass;

-- name: list_applied
SELECT version, name, checksum FROM schema_migrations ORDER BY version;
