-- What came in: identities, the raw log, refusals, and the types that events may have.

-- One row per stored event, for as long as the event is kept. event_key is a hash of (tenant, event_id), see
-- common/envelope.py; received_at says which partition holds the event. Not partitioned: a unique key on a
-- partitioned table would have to contain received_at, and a later retry would slip in.
CREATE TABLE event_keys (
    event_key   uuid PRIMARY KEY,
    tenant_id   integer NOT NULL,
    received_at timestamptz NOT NULL
);

-- Retention deletes by received_at, which follows insertion order: BRIN costs next to nothing.
CREATE INDEX event_keys_by_received_at ON event_keys USING brin (received_at);

-- Append-only. raw is the event exactly as received: text, since jsonb cannot hold all that JSON can.
CREATE TABLE events (
    event_key   uuid NOT NULL,
    received_at timestamptz NOT NULL,
    batch_id    bigint NOT NULL,
    tenant_id   integer NOT NULL,
    event_id    text NOT NULL,
    event_type  text NOT NULL,
    customer_id text NOT NULL,
    occurred_at timestamptz NOT NULL,
    trace_id    text,
    raw         text NOT NULL,
    PRIMARY KEY (event_key, received_at)
) PARTITION BY RANGE (received_at);

CREATE TABLE events_default PARTITION OF events DEFAULT;

CREATE INDEX events_by_trace ON events (tenant_id, trace_id, occurred_at, event_key) WHERE trace_id IS NOT NULL;

-- Refusals. rejection_id is a hash of (tenant, event_id, raw): the same refused event is one row however often
-- it comes; a refusal does not claim the event_id.
CREATE TABLE rejected_events (
    rejection_id uuid PRIMARY KEY,
    tenant_id    integer NOT NULL,
    event_id     text NOT NULL,
    event_type   text NOT NULL,
    customer_id  text NOT NULL,
    trace_id     text,
    received_at  timestamptz NOT NULL,
    rejected_at  timestamptz NOT NULL DEFAULT now(),
    code         text NOT NULL,
    detail       text NOT NULL,
    path         text NOT NULL,
    raw          text NOT NULL,
    status       text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'replayed')),
    replayed_at  timestamptz
);

CREATE INDEX rejected_events_by_time ON rejected_events (tenant_id, rejected_at, rejection_id);
CREATE INDEX rejected_events_by_event ON rejected_events (tenant_id, event_id);

-- Event types as data: the platform's own (tenant 0, published from worker/domains) and the tenants'.
CREATE TABLE event_types (
    tenant_id    integer NOT NULL REFERENCES tenants,
    event_type   text NOT NULL CHECK (event_type ~ '^[a-z][a-z0-9_.]{0,99}$'),
    version      integer NOT NULL CHECK (version >= 1),
    schema       jsonb NOT NULL,
    description  text NOT NULL DEFAULT '',
    -- What a tenant's own type means; the platform's types derive both from the event's data.
    signal_type  text CHECK (
        signal_type IN (
            'outreach', 'engagement', 'high_engagement', 'intent', 'high_intent', 'revenue', 'churn_risk'
        )
    ),
    signal_score real CHECK (signal_score BETWEEN 0 AND 1),
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, event_type, version)
);
