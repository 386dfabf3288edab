-- Upkeep is about tables as a whole: its statements know no tenant.

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
