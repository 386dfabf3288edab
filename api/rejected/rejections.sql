-- name: list_rejections
SELECT rejection_id, event_id, event_type, customer_id, trace_id, code, detail, path, received_at, rejected_at,
    status, replayed_at, raw
FROM rejected_events
WHERE tenant_id = %(tenant_id)s
    AND status = %(status)s
    AND (%(codes)s::text[] IS NULL OR code = ANY (%(codes)s::text[]))
    AND (%(event_types)s::text[] IS NULL OR event_type = ANY (%(event_types)s::text[]))
    AND rejected_at >= coalesce(%(since)s::timestamptz, '-infinity')
    -- One bound for where the list begins, as in signals.sql.
    AND (rejected_at, rejection_id) < (
        coalesce(%(after_at)s::timestamptz, %(until)s::timestamptz, 'infinity'),
        coalesce(%(after_id)s::uuid, '00000000-0000-0000-0000-000000000000')
    )
ORDER BY rejected_at DESC, rejection_id DESC
LIMIT %(limit)s;

-- name: find_rejection
SELECT rejection_id, event_id, event_type, customer_id, trace_id, code, detail, path, received_at, rejected_at,
    status, replayed_at, raw
FROM rejected_events
WHERE tenant_id = %(tenant_id)s AND rejection_id = %(rejection_id)s;

-- name: take_open
-- Rows stay locked until they are marked: a worker that refuses the replayed event again waits for that, and then
-- opens the row anew. What another replay has in hand is skipped.
SELECT rejection_id, event_id, received_at, raw
FROM rejected_events
WHERE tenant_id = %(tenant_id)s
    AND status = 'open'
    AND (%(ids)s::uuid[] IS NULL OR rejection_id = ANY (%(ids)s::uuid[]))
    AND (%(code)s::text IS NULL OR code = %(code)s::text)
    AND (%(event_type)s::text IS NULL OR event_type = %(event_type)s::text)
    AND rejected_at >= coalesce(%(since)s::timestamptz, '-infinity')
    AND rejected_at < coalesce(%(until)s::timestamptz, 'infinity')
ORDER BY rejected_at, rejection_id
LIMIT %(limit)s
FOR UPDATE SKIP LOCKED;

-- name: mark_replayed
UPDATE rejected_events
SET status = 'replayed', replayed_at = now()
WHERE tenant_id = %(tenant_id)s AND rejection_id = ANY (%(ids)s::uuid[]);

-- name: has_open
SELECT EXISTS (
    SELECT FROM rejected_events
    WHERE tenant_id = %(tenant_id)s
        AND status = 'open'
        AND (%(ids)s::uuid[] IS NULL OR rejection_id = ANY (%(ids)s::uuid[]))
        AND (%(code)s::text IS NULL OR code = %(code)s::text)
        AND (%(event_type)s::text IS NULL OR event_type = %(event_type)s::text)
        AND rejected_at >= coalesce(%(since)s::timestamptz, '-infinity')
        AND rejected_at < coalesce(%(until)s::timestamptz, 'infinity')
) AS more;
