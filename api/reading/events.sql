-- name: find_event
-- The identity knows when the event came, and with it the one partition to look into. An event is indexed once
-- the outbox row of its batch is marked, or gone. The last byte of an event_key is zero, and numbers its signals.
SELECT event_id, event_type, customer_id, occurred_at, received_at, trace_id, raw,
    CASE
        WHEN EXISTS (
            SELECT FROM outbox
            WHERE outbox.batch_id = events.batch_id
                AND outbox.tenant_id = events.tenant_id
                AND outbox.indexed_at IS NULL
        ) THEN 'stored'
        ELSE 'indexed'
    END AS status,
    ARRAY (
        SELECT signal_id FROM signals
        WHERE signals.signal_id BETWEEN events.event_key AND last_signal_id(events.event_key)
            AND signals.received_at = events.received_at
            AND signals.tenant_id = %(tenant_id)s
        ORDER BY signal_id
    ) AS signals
FROM events
WHERE event_key = %(event_key)s
    AND tenant_id = %(tenant_id)s
    AND received_at = (
        SELECT received_at FROM event_keys WHERE event_key = %(event_key)s AND tenant_id = %(tenant_id)s
    );

-- name: find_rejection
SELECT event_id, event_type, customer_id, received_at, trace_id, raw, code, detail, path
FROM rejected_events
WHERE tenant_id = %(tenant_id)s AND event_id = %(event_id)s
ORDER BY rejected_at DESC, rejection_id DESC
LIMIT 1;

-- name: list_events_of_trace
-- The index has an order of its own for each two days of the month: ask each for the first, and merge.
SELECT event_key, event_id, event_type, customer_id, occurred_at, received_at, trace_id, raw,
    CASE
        WHEN EXISTS (
            SELECT FROM outbox
            WHERE outbox.batch_id = found.batch_id
                AND outbox.tenant_id = found.tenant_id
                AND outbox.indexed_at IS NULL
        ) THEN 'stored'
        ELSE 'indexed'
    END AS status,
    ARRAY (
        SELECT signal_id FROM signals
        WHERE signals.signal_id BETWEEN found.event_key AND last_signal_id(found.event_key)
            AND signals.received_at = found.received_at
            AND signals.tenant_id = %(tenant_id)s
        ORDER BY signal_id
    ) AS signals
FROM (
    SELECT of_pair.*
    FROM generate_series(0, 15) AS pair
    CROSS JOIN LATERAL (
        SELECT *
        FROM events
        WHERE tenant_id = %(tenant_id)s
            AND day_pair(received_at) = pair
            AND trace_id = %(trace_id)s
            AND (occurred_at, event_key) > (
                coalesce(%(after_at)s::timestamptz, '-infinity'),
                coalesce(%(after_key)s::uuid, '00000000-0000-0000-0000-000000000000')
            )
        ORDER BY occurred_at, event_key
        LIMIT %(limit)s
    ) AS of_pair
    ORDER BY occurred_at, event_key
    LIMIT %(limit)s
) AS found
ORDER BY occurred_at, event_key;
