-- name: list_due
-- Tenants whose events are kept for so many days, and up to when theirs are gone: once an hour, so that little is looked
-- through twice. tenant_id 0 may have a retention, too.
SELECT retention_days, array_agg(tenant_id), CASE WHEN count(expired_until) = count(*) THEN min(expired_until) END
FROM tenants
WHERE retention_days IS NOT NULL
  AND coalesce(expired_until, '-infinity') <= %(now)s - retention_days * interval '1 day' - interval '1 hour'
GROUP BY retention_days
ORDER BY retention_days;

-- name: find_expired_signals
SELECT tenant_id, received_at, signal_id
FROM signals
WHERE (received_at, signal_id) > (%(after_at)s::timestamptz, %(after_id)s::uuid)
  AND received_at < %(cutoff)s
  AND tenant_id = ANY (%(tenant_ids)s)
ORDER BY received_at, signal_id
LIMIT %(most)s;

-- name: find_expired_events
SELECT tenant_id, received_at, event_key
FROM events
WHERE (received_at, event_key) > (%(after_at)s::timestamptz, %(after_id)s::uuid)
  AND received_at < %(cutoff)s
  AND tenant_id = ANY (%(tenant_ids)s)
ORDER BY received_at, event_key
LIMIT %(most)s;

-- name: delete_expired_rejected
DELETE FROM rejected_events WHERE ctid = ANY (
    ARRAY(
        SELECT ctid FROM rejected_events
        WHERE tenant_id = ANY (%(tenant_ids)s) AND received_at < %(cutoff)s
        LIMIT %(most)s
    )
);

-- name: note_expired
UPDATE tenants SET expired_until = %(cutoff)s WHERE tenant_id = ANY (%(tenant_ids)s);
