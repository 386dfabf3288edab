-- Plans are the platform's, the same for all tenants.

-- name: list_plans
SELECT plan, requests_per_second, events_per_second, monthly_events
FROM plans
ORDER BY array_position(%(order)s::text[], plan);

-- name: set_plan
UPDATE plans
SET requests_per_second = %(requests_per_second)s, events_per_second = %(events_per_second)s,
    monthly_events = %(monthly_events)s
WHERE plan = %(plan)s
RETURNING plan, requests_per_second, events_per_second, monthly_events;
