-- Upkeep is about tables as a whole: its statements know no tenant.

-- name: fold_usage
-- In one statement, so that whoever adds both tables up counts each event once. Two at a time leave each other's parts,
-- and lock months in the same order.
WITH folded AS (
    DELETE FROM usage_parts WHERE ctid = ANY (
        ARRAY(SELECT ctid FROM usage_parts LIMIT %(batch)s FOR UPDATE SKIP LOCKED)
    )
    RETURNING tenant_id, month, events
), added AS (
    INSERT INTO usage (tenant_id, month, events)
    SELECT tenant_id, month, sum(events) FROM folded GROUP BY tenant_id, month ORDER BY tenant_id, month
    ON CONFLICT (tenant_id, month) DO UPDATE SET events = usage.events + excluded.events
)
SELECT count(*) FROM folded;

-- name: delete_indexed_outbox
DELETE FROM outbox WHERE ctid = ANY (
    ARRAY(
        SELECT ctid
        FROM outbox
        WHERE indexed_at < %(cutoff)s
          AND NOT EXISTS (
              -- Sent again should the index turn out to have lost its last writes, however long the server is away.
              SELECT FROM index_marks AS mark
              WHERE outbox.indexed_at >= mark.checkpoint_at
                AND outbox.received_until >= mark.received_from
                AND outbox.received_from < mark.received_until
          )
        LIMIT %(batch)s
        FOR UPDATE SKIP LOCKED
    )
);
