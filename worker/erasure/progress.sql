-- name: next_group
-- Those that are equally far as the one that is due first: they share each step, and one walk through the log.
WITH first AS (
    SELECT state, walked_at, walked_key
    FROM erasures
    WHERE state <> 'done' AND due_at <= clock_timestamp()
    ORDER BY due_at
    LIMIT 1
)
SELECT erasure_id, tenant_id, customer_id, customer_hash, erased_at, state, (awaited ->> state)::bigint AS awaited,
       queue_time, erasures.walked_at, erasures.walked_key
FROM erasures
JOIN first USING (state)
WHERE due_at <= clock_timestamp()
  AND (erasures.walked_at, erasures.walked_key) IS NOT DISTINCT FROM (first.walked_at, first.walked_key)
ORDER BY due_at
LIMIT %(most)s;

-- name: count_due
-- Of all tenants.
SELECT count(*) FROM erasures WHERE state <> 'done' AND due_at <= clock_timestamp();

-- name: advance
UPDATE erasures
SET state = %(state)s,
    queue_time = coalesce(queue_time, %(queue_time)s),
    walked_at = %(walked_at)s,
    walked_key = %(walked_key)s,
    due_at = clock_timestamp()
WHERE erasure_id = ANY (%(erasure_ids)s) AND tenant_id = ANY (%(tenant_ids)s);

-- name: put_off
UPDATE erasures
SET due_at = clock_timestamp() + %(seconds)s * interval '1 second'
WHERE erasure_id = ANY (%(erasure_ids)s) AND tenant_id = ANY (%(tenant_ids)s);

-- name: note_awaited
UPDATE erasures
SET awaited = awaited || jsonb_build_object(state, %(number)s::bigint)
WHERE erasure_id = ANY (%(erasure_ids)s) AND tenant_id = ANY (%(tenant_ids)s);

-- name: find_one_that_need_not_wait
-- Of all that are due, whoever has noted nothing to wait for.
SELECT tenant_id, erasure_id
FROM erasures
WHERE state <> 'done' AND due_at <= clock_timestamp() AND NOT awaited ? state
LIMIT 1;

-- name: add_counts
UPDATE erasures
SET counts = jsonb_sum(counts, %(counts)s)
WHERE erasure_id = %(erasure_id)s AND tenant_id = %(tenant_id)s;

-- name: finish
UPDATE erasures
SET state = 'done', customer_id = NULL, walked_at = NULL, walked_key = NULL, finished_at = clock_timestamp()
WHERE erasure_id = %(erasure_id)s AND tenant_id = %(tenant_id)s;
