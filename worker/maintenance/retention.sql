-- name: list_due
-- Tenants that keep events for so many days, since when, and up to when theirs are gone: once an hour, so that little is
-- looked through twice. tenant_id 0 may have a retention, too.
SELECT tenant_id, cutoff, expired_until
FROM tenants
CROSS JOIN LATERAL (SELECT %(now)s - retention_days * interval '1 day') AS kept (cutoff)
WHERE coalesce(expired_until, '-infinity') <= cutoff - interval '1 hour'
ORDER BY tenant_id;

-- name: find_expired_signals
-- One page of all tenants' signals, where it ends, and which of them are too old for their tenants. The place comes from
-- subqueries for the reason that infrastructure/search/stored.sql gives.
WITH page AS MATERIALIZED (
    SELECT tenant_id, received_at, signal_id
    FROM signals
    WHERE (received_at, signal_id) > ((SELECT %(after_at)s::timestamptz), (SELECT %(after_id)s::uuid))
      AND received_at < %(ends)s
    ORDER BY received_at, signal_id
    LIMIT %(most)s
), expired AS (
    SELECT page.tenant_id, page.received_at, page.signal_id
    FROM page
    JOIN unnest(%(tenant_ids)s::integer[], %(cutoffs)s::timestamptz[]) AS due (tenant_id, cutoff) USING (tenant_id)
    WHERE page.received_at < due.cutoff
), last AS (
    SELECT received_at, signal_id FROM page ORDER BY received_at DESC, signal_id DESC LIMIT 1
)
SELECT last.received_at, last.signal_id, expired.tenant_id, expired.received_at, expired.signal_id
FROM last
LEFT JOIN expired ON true;

-- name: find_expired_events
-- Likewise of the log.
WITH page AS MATERIALIZED (
    SELECT tenant_id, received_at, event_key
    FROM events
    WHERE (received_at, event_key) > ((SELECT %(after_at)s::timestamptz), (SELECT %(after_id)s::uuid))
      AND received_at < %(ends)s
    ORDER BY received_at, event_key
    LIMIT %(most)s
), expired AS (
    SELECT page.tenant_id, page.received_at, page.event_key
    FROM page
    JOIN unnest(%(tenant_ids)s::integer[], %(cutoffs)s::timestamptz[]) AS due (tenant_id, cutoff) USING (tenant_id)
    WHERE page.received_at < due.cutoff
), last AS (
    SELECT received_at, event_key FROM page ORDER BY received_at DESC, event_key DESC LIMIT 1
)
SELECT last.received_at, last.event_key, expired.tenant_id, expired.received_at, expired.event_key
FROM last
LEFT JOIN expired ON true;

-- name: delete_expired_rejected
DELETE FROM rejected_events WHERE ctid = ANY (
    ARRAY(
        SELECT found.ctid
        FROM unnest(%(tenant_ids)s::integer[], %(cutoffs)s::timestamptz[]) AS due (tenant_id, cutoff)
        CROSS JOIN LATERAL (
            SELECT ctid
            FROM rejected_events
            WHERE rejected_events.tenant_id = due.tenant_id AND rejected_events.received_at < due.cutoff
            LIMIT %(most)s
            FOR UPDATE SKIP LOCKED
        ) AS found
        LIMIT %(most)s
    )
);

-- name: note_expired
UPDATE tenants SET expired_until = %(cutoff)s WHERE tenant_id = %(tenant_id)s;
