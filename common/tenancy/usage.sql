-- name: list_usage
-- What upkeep has folded, and what it has not yet.
SELECT month, sum(events)::bigint AS events
FROM (
    SELECT month, events FROM usage WHERE tenant_id = %(tenant_id)s
    UNION ALL
    SELECT month, events FROM usage_parts WHERE tenant_id = %(tenant_id)s
) AS counted
GROUP BY month
ORDER BY month DESC
LIMIT %(limit)s;

-- name: find_usage
SELECT events_used(tenant_id, date_trunc('month', now() AT TIME ZONE 'UTC')::date)
FROM tenants
WHERE tenant_id = %(tenant_id)s;
