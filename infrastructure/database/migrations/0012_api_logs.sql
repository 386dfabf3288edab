-- Who asked the API for what, and what came of it: no bodies, no secrets.

CREATE TABLE api_logs (
    received_at    timestamptz NOT NULL,
    -- Tells calls of one instant apart.
    log_id         uuid NOT NULL DEFAULT gen_random_uuid(),
    -- 0, the platform, where no valid key said whose the request is.
    tenant_id      integer NOT NULL,
    key_prefix     text,
    method         text NOT NULL,
    -- The template, such as /v1/customers/{customer_id}: ids of people are not kept here.
    route          text NOT NULL,
    -- What an administrator's request was about, such as /v1/admin/tenants/acme.
    target         text,
    status         smallint NOT NULL,
    duration_ms    real NOT NULL,
    client_address inet,
    user_agent     text,
    request_id     text NOT NULL,
    PRIMARY KEY (received_at, log_id)
) PARTITION BY RANGE (received_at);

CREATE TABLE api_logs_default PARTITION OF api_logs DEFAULT;

CREATE INDEX api_logs_by_tenant ON api_logs (tenant_id, received_at, log_id);

ALTER TABLE api_logs ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE api_logs_default ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON api_logs USING (tenant_id = current_tenant() OR is_platform_affair());

-- It cannot change what it wrote.
GRANT SELECT, INSERT ON api_logs TO sspp_api;
