-- An index holds the month of all tenants: of these statements only those about single signals name the tenant.

-- name: try_lock_run
-- The session's: whatever ends the command frees it.
SELECT pg_try_advisory_lock(%(lock_key)s);

-- name: list_rebuilds
SELECT month, generation, rebuilding, copied, copied_through_at, copied_through_id::text, template_version, document_version
FROM search_indices
WHERE rebuilding IS NOT NULL
ORDER BY month;

-- name: begin_rebuild
INSERT INTO search_indices (month, rebuilding, started_at, template_version, document_version)
VALUES (%(month)s, %(rebuilding)s, clock_timestamp(), %(template_version)s, %(document_version)s)
ON CONFLICT (month) DO UPDATE
SET rebuilding = excluded.rebuilding,
    started_at = excluded.started_at,
    template_version = excluded.template_version,
    document_version = excluded.document_version,
    copied_through_at = DEFAULT,
    copied_through_id = DEFAULT,
    copied = DEFAULT;

-- name: abandon_rebuilds
UPDATE search_indices SET rebuilding = NULL
WHERE rebuilding IS NOT NULL
  AND (%(months)s::date[] = '{}' OR month = ANY (%(months)s::date[]))
RETURNING month;

-- name: set_lock_timeout
SELECT set_config('lock_timeout', %(timeout)s, true);

-- name: advance_rebuild
UPDATE search_indices
SET copied_through_at = %(received_at)s, copied_through_id = %(signal_id)s::uuid, copied = copied + %(copied)s
WHERE month = %(month)s AND rebuilding = %(rebuilding)s;

-- name: rewind_rebuild
UPDATE search_indices
SET copied_through_at = DEFAULT, copied_through_id = DEFAULT, copied = DEFAULT
WHERE month = %(month)s AND rebuilding = %(rebuilding)s;

-- name: count_expected
-- How many documents a complete index holds at least: all signals but those that the index stage still has to write,
-- and those that were refused since the rebuild began. And whether it may hold some of signals that are gone, as
-- customers are being erased or a tenant's events expire. One statement, so that all are of the same moment.
SELECT (
    SELECT count(*) FROM signals
    WHERE received_at >= %(received_from)s AND received_at < %(received_until)s
) - (
    SELECT coalesce(sum(cardinality(signal_ids)), 0)::bigint FROM outbox
    WHERE indexed_at IS NULL AND received_from < %(received_until)s AND received_until >= %(received_from)s
) - (
    SELECT count(*)
    FROM index_failures
    JOIN event_keys ON event_keys.event_key = event_key_of(index_failures.signal_id)
    JOIN signals ON signals.received_at = event_keys.received_at
        AND signals.signal_id = index_failures.signal_id
        AND signals.tenant_id = index_failures.tenant_id
    JOIN search_indices ON search_indices.month = %(month)s
    WHERE signals.received_at >= %(received_from)s
      AND signals.received_at < %(received_until)s
      AND index_failures.failed_at >= search_indices.started_at
), EXISTS (
    SELECT FROM erasures WHERE state <> 'done'
) OR EXISTS (
    SELECT FROM tenants
    WHERE retention_days IS NOT NULL
      AND coalesce(expired_until, '-infinity') < %(received_until)s
      AND %(received_from)s < now() - retention_days * interval '1 day'
);

-- name: lock_rebuild
SELECT FROM search_indices WHERE month = %(month)s AND rebuilding = %(rebuilding)s FOR UPDATE;

-- name: finish_rebuild
UPDATE search_indices SET generation = rebuilding, rebuilding = NULL WHERE month = %(month)s;

-- name: forget_old_failures
-- What the former index had refused and this one took: it refused nothing before its rebuild began.
DELETE FROM index_failures
USING event_keys, signals, search_indices
WHERE event_keys.event_key = event_key_of(index_failures.signal_id)
  AND signals.received_at = event_keys.received_at
  AND signals.signal_id = index_failures.signal_id
  AND signals.tenant_id = index_failures.tenant_id
  AND signals.received_at >= %(received_from)s
  AND signals.received_at < %(received_until)s
  AND search_indices.month = %(month)s
  AND index_failures.failed_at < search_indices.started_at;

-- name: is_stored
SELECT EXISTS (SELECT FROM signals_by_id(ARRAY[%(signal_id)s::uuid]));

-- name: delete_mark
DELETE FROM index_marks WHERE index_name = %(index_name)s;

-- name: record_mark
-- Without a checkpoint for now: what the outbox keeps would not make up for copied documents that get lost.
INSERT INTO index_marks AS mark (
    index_name, received_from, received_until, nodes, newest_id, newest_seq_no, checkpoint_at, next_checkpoint_id,
    next_checkpoint_seq_no, next_checkpoint_at
)
VALUES (
    %(index_name)s, %(received_from)s, %(received_until)s, '{}', %(newest_id)s, %(newest_seq_no)s, now(),
    %(newest_id)s, %(newest_seq_no)s, now()
)
ON CONFLICT (index_name) DO UPDATE
SET newest_id = CASE WHEN mark.newest_seq_no > excluded.newest_seq_no THEN mark.newest_id ELSE excluded.newest_id END,
    newest_seq_no = greatest(mark.newest_seq_no, excluded.newest_seq_no),
    checkpoint_id = NULL,
    checkpoint_seq_no = NULL,
    checkpoint_at = now(),
    next_checkpoint_id = excluded.next_checkpoint_id,
    next_checkpoint_seq_no = excluded.next_checkpoint_seq_no,
    next_checkpoint_at = now();
