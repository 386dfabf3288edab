-- name: insert_logs
INSERT INTO api_logs (
    received_at, log_id, tenant_id, key_prefix, method, route, target, status, duration_ms, client_address, user_agent,
    request_id
)
SELECT *
FROM unnest(
    %(received_at)s::timestamptz[], %(log_id)s::uuid[], %(tenant_id)s::integer[], %(key_prefix)s::text[],
    %(method)s::text[], %(route)s::text[], %(target)s::text[], %(status)s::smallint[], %(duration_ms)s::real[],
    %(client_address)s::inet[], %(user_agent)s::text[], %(request_id)s::text[]
);

-- name: list_logs
-- One bound at the side where the page begins, as the lists of signals have it.
SELECT received_at, log_id, key_prefix, method, route, target, status, duration_ms, host(client_address) AS client_address,
    user_agent, request_id
FROM api_logs
WHERE tenant_id = %(tenant_id)s
    AND (%(statuses)s::smallint[] IS NULL OR status = ANY(%(statuses)s::smallint[]))
    AND (%(since)s::timestamptz IS NULL OR received_at >= %(since)s)
    AND (received_at, log_id) < (
        coalesce(%(after_at)s::timestamptz, %(until)s::timestamptz, 'infinity'),
        coalesce(%(after_id)s::uuid, '00000000-0000-0000-0000-000000000000')
    )
ORDER BY received_at DESC, log_id DESC
LIMIT %(limit)s;
