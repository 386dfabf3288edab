-- name: list_stored
-- Those that still exist.
SELECT signal_id::text FROM signals_by_id(%(signal_ids)s::uuid[]) WHERE tenant_id = %(tenant_id)s;

-- name: forget_marks
-- About an index of all tenants: a document that is removed must not look like one that the server lost.
UPDATE index_marks
SET newest_id = CASE WHEN newest_id = ANY (gone) THEN NULL ELSE newest_id END,
    newest_seq_no = CASE WHEN newest_id = ANY (gone) THEN NULL ELSE newest_seq_no END,
    checkpoint_id = CASE WHEN checkpoint_id = ANY (gone) THEN NULL ELSE checkpoint_id END,
    checkpoint_seq_no = CASE WHEN checkpoint_id = ANY (gone) THEN NULL ELSE checkpoint_seq_no END,
    next_checkpoint_id = CASE WHEN next_checkpoint_id = ANY (gone) THEN NULL ELSE next_checkpoint_id END,
    next_checkpoint_seq_no = CASE WHEN next_checkpoint_id = ANY (gone) THEN NULL ELSE next_checkpoint_seq_no END
FROM (SELECT %(signal_ids)s::uuid[] AS gone) AS removed
WHERE newest_id = ANY (gone) OR checkpoint_id = ANY (gone) OR next_checkpoint_id = ANY (gone);

-- name: forget_orphaned_failures
-- Of signals that are gone, nobody will send a document again.
DELETE FROM index_failures
WHERE tenant_id = %(tenant_id)s
  AND NOT EXISTS (SELECT FROM signals_by_id(ARRAY[index_failures.signal_id]));
