-- An index holds signals of all tenants, and so does its mark.

-- name: list_marks_of
SELECT index_name
FROM index_marks
WHERE newest_id = ANY (%(gone)s::uuid[])
   OR checkpoint_id = ANY (%(gone)s::uuid[])
   OR next_checkpoint_id = ANY (%(gone)s::uuid[])
ORDER BY index_name;

-- name: newest_of
SELECT tenant_id, signal_id::text, event_id, event_type, customer_id, signal_type, signal_score, occurred_at, received_at,
       trace_id, amount, currency, data::text
FROM signals_by_id(%(signal_ids)s::uuid[])
ORDER BY received_at DESC, signal_id DESC
LIMIT 1;

-- name: lock_marks
-- In order of name, as everybody does it: so no two wait for each other.
SELECT FROM index_marks ORDER BY index_name FOR UPDATE;

-- name: move_mark
-- Nothing was marked as indexed later that has a lower number, so that what is known of a checkpoint stays true. Counted
-- like a loss: who read the mark before and does not find its document must not take that for one.
UPDATE index_marks
SET losses = losses + 1,
    newest_id = CASE WHEN newest_id = ANY (gone) THEN heir_id ELSE newest_id END,
    newest_seq_no = CASE WHEN newest_id = ANY (gone) THEN heir_seq_no ELSE newest_seq_no END,
    checkpoint_id = CASE WHEN checkpoint_id = ANY (gone) THEN heir_id ELSE checkpoint_id END,
    checkpoint_seq_no = CASE WHEN checkpoint_id = ANY (gone) THEN heir_seq_no ELSE checkpoint_seq_no END,
    next_checkpoint_id = CASE WHEN next_checkpoint_id = ANY (gone) THEN heir_id ELSE next_checkpoint_id END,
    next_checkpoint_seq_no = CASE WHEN next_checkpoint_id = ANY (gone) THEN heir_seq_no ELSE next_checkpoint_seq_no END
FROM (
    SELECT %(gone)s::uuid[] AS gone, %(heir_id)s::uuid AS heir_id, %(heir_seq_no)s::bigint AS heir_seq_no
) AS removed
WHERE index_name = %(index_name)s;
