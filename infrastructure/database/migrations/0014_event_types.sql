-- What becomes of a version of an event type, and what events violate.

-- deprecated: still accepts events, and says that senders should move on. retired: accepts none.
ALTER TABLE event_types
    ADD COLUMN status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'deprecated', 'retired'));

-- Refusals by a schema, counted by the transaction that makes them: of one place in the data (a JSON Pointer with * for
-- what has no name of its own in the schema) by one keyword of the schema.
CREATE TABLE schema_violations (
    tenant_id  integer NOT NULL,
    event_type text NOT NULL,
    version    integer NOT NULL,
    path       text NOT NULL,
    keyword    text NOT NULL,
    events     bigint NOT NULL,
    first_at   timestamptz NOT NULL,
    last_at    timestamptz NOT NULL,
    -- Of the last one in rejected_events, whose detail may quote what somebody sent: here is nothing to erase.
    sample_id  uuid NOT NULL,
    PRIMARY KEY (tenant_id, event_type, version, path, keyword)
);

ALTER TABLE schema_violations ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON schema_violations USING (tenant_id = current_tenant());
CREATE POLICY reporting ON schema_violations FOR SELECT TO sspp_reporting USING (true);

GRANT SELECT ON schema_violations TO sspp_api, sspp_reporting;
GRANT SELECT, INSERT, UPDATE ON schema_violations TO sspp_worker;
-- A stored version never changes but in its status.
GRANT INSERT, UPDATE (status) ON event_types TO sspp_api;
