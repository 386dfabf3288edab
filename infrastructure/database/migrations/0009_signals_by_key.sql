-- How signals are found through event_keys, said once for everybody who looks for them by id or walks a month of them.
-- As plain SQL that PostgreSQL puts into the query it stands in, with its plan. SELECT *: a column that is added to
-- signals comes along.

-- The last id that a signal of an event can have; the first one is the event's key (common/envelope.py).
CREATE FUNCTION last_signal_id(event_key uuid) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN overlay(event_key::text PLACING 'ff' FROM 35)::uuid;

-- Id by id, each through its key to the one place where it can be: a span of received_at may hold millions of others.
-- LIMIT: there is one at most, and the planner has no other way.
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

-- The first `most` that were received in the period, from the one on whose id follows `after`, in the order of ids,
-- which is that of the keys. LIMIT within: an event has no more signals, and the planner no other way but to ask key by
-- key.
CREATE FUNCTION signals_by_key(after uuid, received_from timestamptz, received_until timestamptz, most bigint)
RETURNS SETOF signals
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT found.*
    FROM event_keys AS keys
    CROSS JOIN LATERAL (
        SELECT *
        FROM signals
        WHERE signals.received_at = keys.received_at
          AND signals.received_at >= received_from
          AND signals.received_at < received_until
          AND signals.signal_id BETWEEN keys.event_key AND last_signal_id(keys.event_key)
          AND signals.signal_id > after
        LIMIT 256
    ) AS found
    WHERE keys.event_key >= event_key_of(after)
      AND keys.received_at >= received_from
      AND keys.received_at < received_until
    ORDER BY keys.event_key, found.signal_id
    LIMIT most
$$;
