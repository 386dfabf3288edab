-- name: count_tenants
SELECT status, count(*) AS tenants FROM tenants GROUP BY status;

-- name: list_largest_usage
-- Over every tenant_id: the platform's own view. What upkeep has folded, and what it has not yet.
SELECT slug, sum(counted.events)::bigint AS events, plans.monthly_events
FROM (
    SELECT tenant_id, month, events FROM usage
    UNION ALL
    SELECT tenant_id, month, events FROM usage_parts
) AS counted
JOIN tenants USING (tenant_id)
JOIN plans USING (plan)
WHERE month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
GROUP BY tenant_id, slug, plans.monthly_events
ORDER BY 2 DESC
LIMIT %(most)s;

-- name: list_slugs
SELECT tenant_id, slug FROM tenants WHERE tenant_id = ANY (%(tenant_ids)s::integer[]);
