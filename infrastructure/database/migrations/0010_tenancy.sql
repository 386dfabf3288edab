-- What can become of a tenant and of its keys.

ALTER TABLE tenants
    ADD COLUMN status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended', 'deleted')),
    ADD COLUMN status_since timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN plan text NOT NULL DEFAULT 'trial' CHECK (plan IN ('trial', 'starter', 'pro', 'enterprise'));
UPDATE tenants SET status_since = created_at;
UPDATE tenants SET plan = 'enterprise';  -- whoever was here before there were plans keeps what they had

-- A key that stands in a web page is publishable: it can send events, and nothing else.
ALTER TABLE api_keys
    ADD COLUMN kind text NOT NULL DEFAULT 'secret' CHECK (kind IN ('secret', 'publishable')),
    ADD COLUMN last_used_at timestamptz,
    -- For how long it was made, NULL for ever. Not what is left of that once a rotation has set an earlier end.
    ADD COLUMN lifetime interval,
    ADD CONSTRAINT publishable_keys_only_ingest CHECK (kind = 'secret' OR scopes = ARRAY['ingest']);
UPDATE api_keys SET lifetime = expires_at - created_at;

-- admin was what tenant_admin is now, and becomes the platform's own. No tenant's key may grow by that.
ALTER TABLE api_keys DROP CONSTRAINT api_keys_scopes_check;
UPDATE api_keys SET scopes = array_replace(scopes, 'admin', 'tenant_admin') WHERE tenant_id <> 0;
ALTER TABLE api_keys
    ADD CONSTRAINT api_keys_scopes_check CHECK (scopes <@ ARRAY['ingest', 'read', 'tenant_admin', 'admin']);
