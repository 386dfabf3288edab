-- What the index still has to learn: one row per ingest batch and tenant, written in the batch's transaction.

CREATE SEQUENCE batch_ids AS bigint;

CREATE TABLE outbox (
    batch_id       bigint NOT NULL,
    tenant_id      integer NOT NULL,
    signal_ids     uuid[] NOT NULL,
    -- The span of the signals' received_at: prunes partitions, and names the monthly indices.
    received_from  timestamptz NOT NULL,
    received_until timestamptz NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    indexed_at     timestamptz,
    -- How often Elasticsearch could not take some of its documents, and until when it is left alone since.
    attempts       integer NOT NULL DEFAULT 0,
    put_off_until  timestamptz,
    PRIMARY KEY (batch_id, tenant_id)
);

-- In the order in which rows are due: what is put off lies behind all that can be indexed now.
CREATE INDEX outbox_pending ON outbox (coalesce(put_off_until, created_at), batch_id) WHERE indexed_at IS NULL;

-- Documents that Elasticsearch refused for their content (4xx): named, never dropped silently.
CREATE TABLE index_failures (
    signal_id uuid PRIMARY KEY,
    tenant_id integer NOT NULL,
    failed_at timestamptz NOT NULL DEFAULT now(),
    status    integer NOT NULL,
    reason    text NOT NULL
);
