-- Isolation in the database: who connects as the API's role sees the rows of one tenant, that of its transaction.

-- Roles are the server's, not the database's: they may be there already, or be made by another migration right now. They
-- get passwords, and with these the right to log in, from `sspp roles`.
DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['sspp_api', 'sspp_worker', 'sspp_migrator', 'sspp_reporting'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
END
$$;

-- The tenant of the transaction, from set_config('sspp.tenant_id', …, true); NULL, which no row has, if it is not set.
CREATE FUNCTION current_tenant() RETURNS integer
LANGUAGE sql STABLE PARALLEL SAFE
RETURN nullif(current_setting('sspp.tenant_id', true), '')::integer;

-- Whether the transaction is about all tenants: the platform's own affairs, never what tenants have stored.
CREATE FUNCTION is_platform_affair() RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce(current_setting('sspp.platform_affair', true), '') = 'on';

-- FORCE: for the owner as well. Who has to see all, as workers and commands do, has a role with BYPASSRLS.
DO $$
DECLARE
    tenants_table regclass;
BEGIN
    FOR tenants_table IN
        SELECT pg_class.oid
        FROM pg_class
        JOIN pg_attribute ON attrelid = pg_class.oid AND attname = 'tenant_id' AND NOT attisdropped
        WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', tenants_table);
    END LOOP;
END
$$;

-- What tenants have stored. Partitions have no policy: nothing of them is seen but through their parents.
CREATE POLICY own_tenant ON event_keys USING (tenant_id = current_tenant());
CREATE POLICY own_tenant ON events USING (tenant_id = current_tenant());
CREATE POLICY own_tenant ON signals USING (tenant_id = current_tenant());
CREATE POLICY own_tenant ON customers USING (tenant_id = current_tenant());
CREATE POLICY own_tenant ON rejected_events USING (tenant_id = current_tenant());
CREATE POLICY own_tenant ON index_failures USING (tenant_id = current_tenant());
-- Tenant 0's types are everybody's.
CREATE POLICY own_tenant ON event_types USING (tenant_id = current_tenant());
CREATE POLICY shared ON event_types FOR SELECT USING (tenant_id = 0);
-- And what the platform itself has to see to.
CREATE POLICY own_tenant ON tenants USING (tenant_id = current_tenant() OR is_platform_affair());
CREATE POLICY own_tenant ON api_keys USING (tenant_id = current_tenant() OR is_platform_affair());
CREATE POLICY own_tenant ON outbox USING (tenant_id = current_tenant() OR is_platform_affair());

-- Nobody needs temporary tables; and whoever has them could put one before a table that a function looks up by its name.
DO $$
BEGIN
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
END
$$;

-- The one look-up that knows no tenant yet: a key finds it. It runs with the rights of the migrations' role. So its names
-- are bound here (ATOMIC): looked up in each call, they could become the caller's tables, and run the caller's code.
CREATE FUNCTION find_api_key(wanted text)
RETURNS TABLE (
    key_id integer, tenant_id integer, slug text, key_hash bytea, scopes text[], expires_at timestamptz, tenant_status text
)
LANGUAGE sql STABLE SECURITY DEFINER
BEGIN ATOMIC
    SELECT api_keys.key_id, tenants.tenant_id, tenants.slug, api_keys.key_hash, api_keys.scopes, api_keys.expires_at,
           tenants.status
    FROM api_keys JOIN tenants USING (tenant_id)
    WHERE api_keys.prefix = wanted AND api_keys.revoked_at IS NULL AND tenants.status <> 'deleted';
END;
REVOKE ALL ON FUNCTION find_api_key FROM PUBLIC;

-- The API reads, and changes what its routes change. Of partitions it has nothing.
GRANT SELECT ON tenants, api_keys, event_keys, events, signals, customers, rejected_events, event_types, outbox,
    schema_migrations TO sspp_api;
GRANT UPDATE (status, replayed_at) ON rejected_events TO sspp_api;
GRANT INSERT, UPDATE (status, status_since) ON tenants TO sspp_api;
GRANT INSERT, UPDATE (expires_at, revoked_at, last_used_at) ON api_keys TO sspp_api;
GRANT EXECUTE ON FUNCTION find_api_key TO sspp_api;

-- Workers write and read all but keys. Making and dropping partitions is the owner's: rq worker maintenance runs as that.
GRANT SELECT, INSERT, UPDATE, DELETE ON event_keys, events, signals, customers, rejected_events, event_types, outbox,
    index_failures, index_marks, search_indices TO sspp_worker;
GRANT SELECT ON tenants, schema_migrations TO sspp_worker;
GRANT USAGE ON SEQUENCE batch_ids TO sspp_worker;

-- Analysts read what is stored of all tenants, and no keys.
GRANT SELECT ON tenants, events, signals, customers, rejected_events, event_types TO sspp_reporting;
CREATE POLICY reporting ON tenants FOR SELECT TO sspp_reporting USING (true);
CREATE POLICY reporting ON events FOR SELECT TO sspp_reporting USING (true);
CREATE POLICY reporting ON signals FOR SELECT TO sspp_reporting USING (true);
CREATE POLICY reporting ON customers FOR SELECT TO sspp_reporting USING (true);
CREATE POLICY reporting ON rejected_events FOR SELECT TO sspp_reporting USING (true);
CREATE POLICY reporting ON event_types FOR SELECT TO sspp_reporting USING (true);
