-- People's data: whom the platform has to forget, whom it is not to store, and what became of the requests to forget.

-- One row for each customer that was erased or is suppressed, under a hash of tenant and customer id
-- (common/customers.py). Of such a customer nothing is stored that was received up to erased_at, or since suppressed_at
-- (worker/tombstones.py). For good: replays, withheld events and what comes back with a queue meet it at any later time.
CREATE TABLE tombstones (
    tenant_id     integer NOT NULL,
    customer_hash bytea NOT NULL CHECK (octet_length(customer_hash) = 16),
    erased_at     timestamptz,
    suppressed_at timestamptz,
    PRIMARY KEY (tenant_id, customer_hash)
);

-- Requests to erase a customer, which become their receipts (worker/erasure.py).
CREATE TABLE erasures (
    erasure_id    uuid PRIMARY KEY,
    tenant_id     integer NOT NULL,
    customer_hash bytea NOT NULL CHECK (octet_length(customer_hash) = 16),
    -- Whom the work is about, for as long as it lasts.
    customer_id   text,
    -- What was received up to then is erased.
    erased_at     timestamptz NOT NULL,
    state         text NOT NULL DEFAULT 'requested'
        CHECK (state IN ('requested', 'signals', 'events', 'documents', 'withheld', 'done')),
    -- Redis's clock, in milliseconds, at a time when the tombstone was there: what is queued since then meets it.
    queue_time    bigint,
    -- How far the log of events is looked through, from the newest to the oldest.
    walked_at     timestamptz,
    walked_key    uuid,
    due_at        timestamptz NOT NULL DEFAULT now(),
    counts        jsonb NOT NULL DEFAULT
        '{"customers": 0, "events": 0, "signals": 0, "documents": 0, "rejected_events": 0, "withheld_events": 0}',
    finished_at   timestamptz,
    CHECK ((state = 'done') = (customer_id IS NULL)),
    CHECK ((state = 'done') = (finished_at IS NOT NULL))
);

CREATE INDEX erasures_unfinished ON erasures (due_at) WHERE state <> 'done';
CREATE INDEX erasures_by_tenant ON erasures (tenant_id, erased_at, erasure_id);

-- How long a tenant's events are kept, where that is shorter than their partitions are; and up to which received_at they
-- are known to be gone.
ALTER TABLE tenants
    ADD COLUMN retention_days integer CHECK (retention_days BETWEEN 1 AND 36500),
    ADD COLUMN expired_until timestamptz;

ALTER TABLE tombstones ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE erasures ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON tombstones USING (tenant_id = current_tenant());
CREATE POLICY own_tenant ON erasures USING (tenant_id = current_tenant());

-- The API asks for it, and never sees again whom it was about; rq worker maintenance does it, as the owner.
GRANT SELECT, INSERT, UPDATE (erased_at, suppressed_at) ON tombstones TO sspp_api;
GRANT INSERT, SELECT (erasure_id, tenant_id, erased_at, state, counts, finished_at) ON erasures TO sspp_api;
GRANT UPDATE (retention_days) ON tenants TO sspp_api;
GRANT SELECT ON tombstones TO sspp_worker;

-- Begins a batch of events: its number, and which of its tenants have tombstones.
--
-- The transaction gets its number first, and the tombstones are looked up after that: each statement of a volatile
-- function sees what is committed when it begins. So whoever has committed a tombstone, and then sees all transactions
-- end that have a number at that moment, knows that any other one sees the tombstone (docs/adr/0011-erasure.md).
CREATE FUNCTION begin_batch(tenant_ids integer[])
RETURNS TABLE (batch_id bigint, tenants_with_tombstones integer[])
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM pg_current_xact_id();
    RETURN QUERY SELECT
        nextval('batch_ids'),
        ARRAY(
            SELECT each
            FROM unnest(tenant_ids) AS each
            WHERE EXISTS (SELECT FROM tombstones WHERE tombstones.tenant_id = each)
        );
END
$$;

-- The place of each event of a customer of the transaction's tenant among the next `most` events of the log, whoever's
-- they are, and where these end. With its owner's rights: past a policy the events of others would be read and not
-- counted; and so with its names bound (0011_row_level_security.sql). The place comes from subqueries for the reason that
-- infrastructure/search/stored.sql gives.
CREATE FUNCTION look_through_log(customer text, after_at timestamptz, after_key uuid, most integer)
RETURNS TABLE (last_at timestamptz, last_key uuid, received_at timestamptz, event_key uuid)
LANGUAGE sql STABLE SECURITY DEFINER
BEGIN ATOMIC
    WITH page AS MATERIALIZED (
        SELECT events.received_at, events.event_key, events.tenant_id, events.customer_id
        FROM events
        WHERE (events.received_at, events.event_key) > ((SELECT after_at), (SELECT after_key))
        ORDER BY events.received_at, events.event_key
        LIMIT most
    ), last AS (
        SELECT page.received_at, page.event_key FROM page ORDER BY page.received_at DESC, page.event_key DESC LIMIT 1
    )
    SELECT last.received_at, last.event_key, page.received_at, page.event_key
    FROM last
    LEFT JOIN page ON page.tenant_id = current_tenant() AND page.customer_id = customer
    ORDER BY page.received_at, page.event_key;
END;
REVOKE ALL ON FUNCTION look_through_log FROM PUBLIC;
GRANT EXECUTE ON FUNCTION look_through_log TO sspp_api;
