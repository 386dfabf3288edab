-- name: take_turns
-- With other recounts alone: neither what workers count nor upkeep's folding waits for it.
LOCK TABLE usage IN SHARE UPDATE EXCLUSIVE MODE;

-- name: recount
-- One statement sees events and their counts at one instant; each commits together with the other. The month is that of
-- received_at, in UTC.
WITH stored AS (
    SELECT tenant_id, count(*) AS events
    FROM events
    WHERE received_at >= %(starts)s AND received_at < %(ends)s
    GROUP BY tenant_id
), uncounted AS (
    SELECT tenant_id, (%(starts)s AT TIME ZONE 'UTC')::date AS month, stored.events - used.events AS events
    FROM stored
    CROSS JOIN LATERAL events_used(tenant_id, (%(starts)s AT TIME ZONE 'UTC')::date) AS used (events)
    WHERE stored.events > used.events
), added AS (
    INSERT INTO usage (tenant_id, month, events)
    SELECT tenant_id, month, events FROM uncounted ORDER BY tenant_id
    ON CONFLICT (tenant_id, month) DO UPDATE SET events = usage.events + excluded.events
)
SELECT slug, to_char(month, 'YYYY-MM') AS month, events FROM uncounted JOIN tenants USING (tenant_id) ORDER BY tenant_id;
