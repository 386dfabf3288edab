-- Upkeep is about tables as a whole: its statements know no tenant.

-- name: delete_indexed_outbox
DELETE FROM outbox WHERE ctid = ANY (
    ARRAY(SELECT ctid FROM outbox WHERE indexed_at < %(cutoff)s LIMIT %(batch)s FOR UPDATE SKIP LOCKED)
);
