-- New rows go to one place of an index, not all over it. Keys that begin with a hash dirty a page of each index for
-- almost every row, and after a checkpoint each such page is logged in whole: with millions of rows in a month's
-- partition that is most of what storing a batch writes. event_keys alone remains random: it is what identity rests on.
--
-- Locks events and signals, readers and writers alike, while the indexes are built: about 6 seconds for each million
-- rows. Events are accepted meanwhile, and wait in the queue. What runs on the former release goes on working.

SET LOCAL statement_timeout = '30min';
SET LOCAL maintenance_work_mem = '256MB';

-- Who looks for an event or a signal by its id knows from event_keys when it was received.
ALTER TABLE events DROP CONSTRAINT events_pkey;
ALTER TABLE events ADD PRIMARY KEY (received_at, event_key);
ALTER TABLE signals DROP CONSTRAINT signals_pkey;
ALTER TABLE signals ADD PRIMARY KEY (received_at, signal_id);

-- Which event a signal is of: its id with a last byte of zero (common/envelope.py).
CREATE FUNCTION event_key_of(signal_id uuid) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN overlay(signal_id::text PLACING '00' FROM 35)::uuid;

-- Traces are as random as keys, and nobody knows when they were received. One small index for each two days of the
-- month, so to speak, numbered 0 to 15: inserts go into that of today, who looks for a trace asks all (api/events.sql).
CREATE FUNCTION day_pair(received_at timestamptz) RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN ((extract(day FROM received_at AT TIME ZONE 'UTC')::integer - 1) / 2)::smallint;

DROP INDEX events_by_trace;
CREATE INDEX events_by_trace ON events (tenant_id, day_pair(received_at), trace_id, occurred_at, event_key)
    WHERE trace_id IS NOT NULL;

-- Lists by signal type read past all other signals without it; each event type has but a few.
DROP INDEX signals_by_type;
CREATE INDEX signals_by_type ON signals (tenant_id, event_type, signal_type, occurred_at, signal_id);
