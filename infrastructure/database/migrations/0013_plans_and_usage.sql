-- What a tenant may use, by its plan, and what it has used.

-- NULL is no limit.
CREATE TABLE plans (
    plan                text PRIMARY KEY,
    requests_per_second integer CHECK (requests_per_second > 0),
    events_per_second   integer CHECK (events_per_second > 0),
    monthly_events      bigint CHECK (monthly_events >= 0)
);

INSERT INTO plans (plan, requests_per_second, events_per_second, monthly_events)
VALUES ('trial', 10, 100, 100000),
       ('starter', 50, 500, 2000000),
       ('pro', 500, 5000, 50000000),
       ('enterprise', NULL, NULL, NULL);

-- New events by the month, in UTC, of their received_at. The transaction that stores a batch adds a part for each tenant
-- and month in it, which no other batch waits for; upkeep folds parts into months. Usage is the sum of both.
CREATE TABLE usage_parts (
    tenant_id integer NOT NULL,
    month     date NOT NULL,
    batch_id  bigint NOT NULL,
    events    integer NOT NULL,
    PRIMARY KEY (tenant_id, month, batch_id)
);

CREATE TABLE usage (
    tenant_id integer NOT NULL,
    month     date NOT NULL,
    events    bigint NOT NULL,
    PRIMARY KEY (tenant_id, month)
);

-- What was stored before these tables were there. It reads the whole log, and keeps nobody out.
SET LOCAL statement_timeout = '30min';
INSERT INTO usage (tenant_id, month, events)
SELECT tenant_id, date_trunc('month', received_at AT TIME ZONE 'UTC')::date, count(*)
FROM events
GROUP BY 1, 2;

CREATE FUNCTION events_used(of_tenant integer, in_month date) RETURNS bigint
LANGUAGE sql STABLE
RETURN (
    SELECT coalesce(sum(events), 0)::bigint
    FROM (
        SELECT events FROM usage WHERE tenant_id = of_tenant AND month = in_month
        UNION ALL
        SELECT events FROM usage_parts WHERE tenant_id = of_tenant AND month = in_month
    ) AS counted
);

-- Who runs a platform for themselves is surprised by no limit. No plan limited anything so far, and trial was what
-- nobody had asked for.
ALTER TABLE tenants DROP CONSTRAINT tenants_plan_check;
ALTER TABLE tenants
    ALTER COLUMN plan SET DEFAULT 'enterprise',
    ADD FOREIGN KEY (plan) REFERENCES plans,
    -- Of web pages that may send events: scheme, host and port, as browsers write them.
    ADD COLUMN allowed_origins text[] NOT NULL DEFAULT '{}';
UPDATE tenants SET plan = 'enterprise' WHERE plan = 'trial';

-- The look-up of a key also tells what its tenant may use and has used: whoever is limited by it is so a second later.
DROP FUNCTION find_api_key(text);
CREATE FUNCTION find_api_key(wanted text)
RETURNS TABLE (
    key_id integer, tenant_id integer, slug text, key_hash bytea, scopes text[], expires_at timestamptz, tenant_status text,
    allowed_origins text[], plan text, requests_per_second integer, events_per_second integer, monthly_events bigint,
    events_used bigint
)
LANGUAGE sql STABLE SECURITY DEFINER
BEGIN ATOMIC
    SELECT api_keys.key_id, tenants.tenant_id, tenants.slug, api_keys.key_hash, api_keys.scopes, api_keys.expires_at,
           tenants.status, tenants.allowed_origins, plan, plans.requests_per_second, plans.events_per_second,
           plans.monthly_events,
           CASE
               WHEN plans.monthly_events IS NOT NULL
               THEN events_used(tenants.tenant_id, date_trunc('month', now() AT TIME ZONE 'UTC')::date)
           END
    FROM api_keys
    JOIN tenants USING (tenant_id)
    JOIN plans USING (plan)
    WHERE api_keys.prefix = wanted AND api_keys.revoked_at IS NULL AND tenants.status <> 'deleted';
END;
REVOKE ALL ON FUNCTION find_api_key FROM PUBLIC;

ALTER TABLE plans ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE usage ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE usage_parts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
-- Plans are for all to read, and only the platform changes them.
CREATE POLICY shared ON plans FOR SELECT USING (true);
CREATE POLICY platform ON plans USING (is_platform_affair());
CREATE POLICY own_tenant ON usage USING (tenant_id = current_tenant() OR is_platform_affair());
CREATE POLICY own_tenant ON usage_parts USING (tenant_id = current_tenant() OR is_platform_affair());

GRANT SELECT ON plans, usage, usage_parts TO sspp_api;
GRANT UPDATE (requests_per_second, events_per_second, monthly_events) ON plans TO sspp_api;
GRANT UPDATE (plan, allowed_origins) ON tenants TO sspp_api;
GRANT EXECUTE ON FUNCTION find_api_key TO sspp_api;
GRANT SELECT, INSERT ON usage_parts TO sspp_worker;
GRANT SELECT ON plans, usage, usage_parts TO sspp_reporting;
CREATE POLICY reporting ON usage FOR SELECT TO sspp_reporting USING (true);
CREATE POLICY reporting ON usage_parts FOR SELECT TO sspp_reporting USING (true);
