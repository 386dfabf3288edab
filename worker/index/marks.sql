-- An index holds signals of all tenants, and so does its mark. Outbox rows stay paired with their tenants.

-- name: list_marks
SELECT index_name, received_from, received_until, nodes, newest_id::text, newest_seq_no, checkpoint_id::text,
       checkpoint_seq_no, losses, refilled_through IS NOT NULL AS refilling
FROM index_marks;

-- name: lock_marks
-- In order of name, as everybody does it: so no two wait for each other.
SELECT index_name, losses
FROM index_marks
ORDER BY index_name
FOR UPDATE;

-- name: advance_mark
INSERT INTO index_marks AS mark (
    index_name, received_from, received_until, nodes, newest_id, newest_seq_no,
    checkpoint_at, next_checkpoint_id, next_checkpoint_seq_no, next_checkpoint_at
)
VALUES (
    %(index_name)s, %(received_from)s, %(received_until)s, %(nodes)s, %(newest_id)s, %(newest_seq_no)s,
    now(), %(newest_id)s, %(newest_seq_no)s, now()
)
ON CONFLICT (index_name) DO UPDATE
SET nodes = CASE WHEN excluded.nodes = '{}' THEN mark.nodes ELSE excluded.nodes END,
    newest_id = CASE WHEN mark.newest_seq_no > excluded.newest_seq_no THEN mark.newest_id ELSE excluded.newest_id END,
    newest_seq_no = greatest(mark.newest_seq_no, excluded.newest_seq_no);

-- name: move_checkpoint
-- now() is when the transaction began, before it wrote and before it locked the mark: whatever got a higher number
-- than the newest is marked as indexed later than that.
UPDATE index_marks
SET checkpoint_id = next_checkpoint_id,
    checkpoint_seq_no = next_checkpoint_seq_no,
    checkpoint_at = next_checkpoint_at,
    next_checkpoint_id = newest_id,
    next_checkpoint_seq_no = newest_seq_no,
    next_checkpoint_at = now()
WHERE index_name = %(index_name)s
  AND now() - next_checkpoint_at >= %(resend_seconds)s * interval '1 second';

-- name: reopen_outbox
-- attempts: -1 says that the row is sent again. Paired by the mark's month: both keys of a row stay as they are (batch_id, tenant_id).
WITH reopened AS (
    UPDATE outbox
    SET indexed_at = NULL, attempts = -1, put_off_until = NULL
    FROM index_marks AS mark
    WHERE mark.index_name = %(index_name)s
      AND outbox.indexed_at >= mark.checkpoint_at
      AND outbox.received_until >= mark.received_from
      AND outbox.received_from < mark.received_until
    RETURNING cardinality(outbox.signal_ids) AS signals
)
SELECT coalesce(sum(signals), 0)::bigint FROM reopened;

-- name: reset_mark
UPDATE index_marks
SET losses = losses + 1,
    nodes = %(nodes)s,
    newest_id = CASE WHEN %(newest_is_there)s THEN newest_id END,
    newest_seq_no = CASE WHEN %(newest_is_there)s THEN newest_seq_no END,
    checkpoint_id = CASE WHEN %(checkpoint_is_there)s THEN checkpoint_id END,
    checkpoint_seq_no = CASE WHEN %(checkpoint_is_there)s THEN checkpoint_seq_no END,
    next_checkpoint_id = CASE
        WHEN %(newest_is_there)s THEN next_checkpoint_id
        WHEN %(checkpoint_is_there)s THEN checkpoint_id
    END,
    next_checkpoint_seq_no = CASE
        WHEN %(newest_is_there)s THEN next_checkpoint_seq_no
        WHEN %(checkpoint_is_there)s THEN checkpoint_seq_no
    END,
    next_checkpoint_at = CASE WHEN %(newest_is_there)s THEN next_checkpoint_at ELSE checkpoint_at END,
    refilled_through = CASE
        WHEN %(refill)s THEN '00000000-0000-0000-0000-000000000000' ELSE refilled_through
    END,
    refilled_through_at = CASE WHEN NOT %(refill)s THEN refilled_through_at END,
    refilled_through_id = CASE WHEN NOT %(refill)s THEN refilled_through_id END
WHERE index_name = %(index_name)s;

-- name: delete_mark
DELETE FROM index_marks WHERE index_name = %(index_name)s;
