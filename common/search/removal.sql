-- name: list_stored
-- Those that still exist.
SELECT signal_id::text FROM signals_by_id(%(signal_ids)s::uuid[]) WHERE tenant_id = %(tenant_id)s;

-- name: forget_orphaned_failures
-- Of signals that are gone, nobody will send a document again.
DELETE FROM index_failures
WHERE tenant_id = %(tenant_id)s
  AND NOT EXISTS (SELECT FROM signals_by_id(ARRAY[index_failures.signal_id]));
