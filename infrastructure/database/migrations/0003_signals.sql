-- What events mean: signals, and the customers that they add up to.

-- signal_id is the event's event_key plus the signal's number within the event (common/envelope.py), so a
-- signal's id leads to its event and through event_keys to one partition.
CREATE TABLE signals (
    signal_id    uuid NOT NULL,
    received_at  timestamptz NOT NULL,
    tenant_id    integer NOT NULL,
    event_id     text NOT NULL,
    event_type   text NOT NULL,
    customer_id  text NOT NULL,
    signal_type  text NOT NULL,
    signal_score real NOT NULL,
    occurred_at  timestamptz NOT NULL,
    trace_id     text,
    amount       numeric,
    currency     text,
    data         jsonb NOT NULL,
    PRIMARY KEY (signal_id, received_at)
) PARTITION BY RANGE (received_at);

CREATE TABLE signals_default PARTITION OF signals DEFAULT;

CREATE INDEX signals_by_customer ON signals (tenant_id, customer_id, occurred_at, signal_id);
CREATE INDEX signals_by_type ON signals (tenant_id, event_type, occurred_at, signal_id);

-- heat is the base-2 logarithm of the customer's summed signal scores, each counted as if it had to decay from
-- 2000-01-01 on with a half-life of 30 days. Adding a signal is one addition, order does not matter, and the
-- order of heats is the order of current scores at any instant: no nightly job (docs/signal_lifecycle.md).
CREATE TABLE customers (
    tenant_id        integer NOT NULL,
    customer_id      text NOT NULL,
    name             text,
    email            text,
    phone            text,
    custom_fields    jsonb NOT NULL DEFAULT '{}',
    tags             jsonb NOT NULL DEFAULT '[]',
    -- Which change each profile field shows: {"email": ["<occurred_at>", "<event_key>"]}; the newest wins.
    profile_versions jsonb NOT NULL DEFAULT '{}',
    first_seen       timestamptz NOT NULL,
    last_seen        timestamptz NOT NULL,
    signal_count     bigint NOT NULL DEFAULT 0,
    counts           jsonb NOT NULL DEFAULT '{}',
    signal_counts    jsonb NOT NULL DEFAULT '{}',
    totals           jsonb NOT NULL DEFAULT '{}',
    heat             double precision,
    PRIMARY KEY (tenant_id, customer_id)
);

CREATE INDEX customers_by_heat ON customers (tenant_id, heat DESC NULLS LAST, customer_id);

-- Adds two objects of numbers key by key, exactly: {"USD": 1.10} + {"USD": 2, "EUR": 3} = {"USD": 3.10, "EUR": 3}.
CREATE FUNCTION jsonb_sum(a jsonb, b jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN (
    SELECT coalesce(jsonb_object_agg(key, total), '{}')
    FROM (
        SELECT key, sum(value::numeric) AS total
        FROM (SELECT * FROM jsonb_each_text(a) UNION ALL SELECT * FROM jsonb_each_text(b)) AS both_sides
        GROUP BY key
    ) AS summed
);

-- log2(2^a + 2^b) without leaving the range of a double; NULL stands for log2(0).
CREATE FUNCTION heat_sum(a double precision, b double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN a IS NULL THEN b
    WHEN b IS NULL THEN a
    WHEN abs(a - b) > 60 THEN greatest(a, b)
    ELSE greatest(a, b) + ln(1 + power(2::double precision, -abs(a - b))) / ln(2::double precision)
END;
