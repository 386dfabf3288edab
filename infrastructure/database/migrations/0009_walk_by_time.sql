-- Signals are found by id through event_keys, and walked month by month in the order of their primary key.

-- Of both functions PostgreSQL puts the SQL into the query it stands in, with its plan.

-- The last id that a signal of an event can have; the first one is the event's key (common/envelope.py).
CREATE FUNCTION last_signal_id(event_key uuid) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN overlay(event_key::text PLACING 'ff' FROM 35)::uuid;

-- Id by id, each through its key to the one place where it can be: a span of received_at may hold millions of others.
-- LIMIT: there is one at most, and the planner has no other way. SELECT *: a column that is added to signals comes along.
CREATE FUNCTION signals_by_id(signal_ids uuid[]) RETURNS SETOF signals
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT found.*
    FROM (SELECT DISTINCT unnest(signal_ids) AS signal_id) AS wanted
    JOIN event_keys AS keys ON keys.event_key = event_key_of(wanted.signal_id)
    CROSS JOIN LATERAL (
        SELECT *
        FROM signals
        WHERE signals.received_at = keys.received_at
          AND signals.signal_id = wanted.signal_id
        LIMIT 1
    ) AS found
$$;

-- How far a walk has got, as the primary key of the last signal of it; NULL before its first page. The former release
-- walks in another order, and keeps its place in the columns that were there: what it began is walked anew by this one.
ALTER TABLE search_indices
    ADD COLUMN copied_through_at timestamptz,
    ADD COLUMN copied_through_id uuid;
UPDATE search_indices SET copied = DEFAULT WHERE rebuilding IS NOT NULL;

-- refilled_through goes on to say that the month is sent again, to both releases.
ALTER TABLE index_marks
    ADD COLUMN refilled_through_at timestamptz,
    ADD COLUMN refilled_through_id uuid;
