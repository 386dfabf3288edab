-- Keys live for 100 years at most: what lies beyond the year 9999 in UTC, no client can read.
UPDATE api_keys SET expires_at = now() + interval '36500 days' WHERE expires_at > now() + interval '36500 days';
UPDATE api_keys SET lifetime = interval '36500 days' WHERE lifetime > interval '36500 days';

-- Like find_api_key, which the API of the release before asks, and of revoked keys too: who still uses one is for its
-- tenant to see. It is for the caller to compare the secret and to refuse the key.
CREATE FUNCTION identify_api_key(wanted text)
RETURNS TABLE (
    key_id integer, tenant_id integer, slug text, key_hash bytea, kind text, scopes text[], expires_at timestamptz,
    revoked boolean, tenant_status text, allowed_origins text[], plan text, requests_per_second integer,
    events_per_second integer, monthly_events bigint, events_used bigint
)
LANGUAGE sql STABLE SECURITY DEFINER
BEGIN ATOMIC
    SELECT api_keys.key_id, tenants.tenant_id, tenants.slug, api_keys.key_hash, api_keys.kind, api_keys.scopes,
           api_keys.expires_at, api_keys.revoked_at IS NOT NULL, tenants.status, tenants.allowed_origins, plan,
           plans.requests_per_second, plans.events_per_second, plans.monthly_events,
           CASE
               WHEN plans.monthly_events IS NOT NULL
               THEN events_used(tenants.tenant_id, date_trunc('month', now() AT TIME ZONE 'UTC')::date)
           END
    FROM api_keys
    JOIN tenants USING (tenant_id)
    JOIN plans USING (plan)
    WHERE api_keys.prefix = wanted AND tenants.status <> 'deleted';
END;
REVOKE ALL ON FUNCTION identify_api_key FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identify_api_key TO sspp_api;
