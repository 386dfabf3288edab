-- A list has one bound on the side where it begins, be it the end of a period or the last item of the page before, which
-- lies within the period. With one comparison of rows and another bound, PostgreSQL enters an index by whichever comes
-- first, and reads past all that lies between the two.

-- name: find_signal
-- The identity knows when the event came, and with it the one partition to look into.
SELECT signal_id, event_id, event_type, customer_id, signal_type, signal_score, occurred_at, received_at, trace_id,
    amount::text AS amount, currency, data::text AS data
FROM signals
WHERE signal_id = %(signal_id)s
    AND tenant_id = %(tenant_id)s
    AND received_at = (
        SELECT received_at FROM event_keys WHERE event_key = %(event_key)s AND tenant_id = %(tenant_id)s
    );

-- name: list_signals_of_customer
SELECT signal_id, event_id, event_type, customer_id, signal_type, signal_score, occurred_at, received_at, trace_id,
    amount::text AS amount, currency, data::text AS data
FROM signals
WHERE tenant_id = %(tenant_id)s
    AND customer_id = %(customer_id)s
    AND (%(event_types)s::text[] IS NULL OR event_type = ANY (%(event_types)s::text[]))
    AND (%(signal_types)s::text[] IS NULL OR signal_type = ANY (%(signal_types)s::text[]))
    AND (%(min_score)s::real IS NULL OR signal_score >= %(min_score)s::real)
    AND occurred_at >= coalesce(%(since)s::timestamptz, '-infinity')
    AND (occurred_at, signal_id) < (
        coalesce(%(after_at)s::timestamptz, %(until)s::timestamptz, 'infinity'),
        coalesce(%(after_id)s::uuid, '00000000-0000-0000-0000-000000000000')
    )
ORDER BY occurred_at DESC, signal_id DESC
LIMIT %(limit)s;

-- name: list_timeline
SELECT signal_id, event_id, event_type, customer_id, signal_type, signal_score, occurred_at, received_at, trace_id,
    amount::text AS amount, currency, data::text AS data
FROM signals
WHERE tenant_id = %(tenant_id)s
    AND customer_id = %(customer_id)s
    AND occurred_at < coalesce(%(until)s::timestamptz, 'infinity')
    AND (occurred_at, signal_id) > (
        coalesce(%(after_at)s::timestamptz, %(since)s::timestamptz, '-infinity'),
        coalesce(%(after_id)s::uuid, '00000000-0000-0000-0000-000000000000')
    )
ORDER BY occurred_at, signal_id
LIMIT %(limit)s;

-- name: list_signals
-- No index has all of a tenant's signals by time, but one has those of each event type and signal type: take the newest
-- of each such kind and merge. The kinds come from that index too, one probe each, so none can be missing.
WITH RECURSIVE kinds AS (
    (
        SELECT event_type, signal_type
        FROM signals
        WHERE tenant_id = %(tenant_id)s
        ORDER BY event_type, signal_type
        LIMIT 1
    )
    UNION ALL
    SELECT following.event_type, following.signal_type
    FROM kinds
    CROSS JOIN LATERAL (
        SELECT s.event_type, s.signal_type
        FROM signals AS s
        WHERE s.tenant_id = %(tenant_id)s
            AND (s.event_type, s.signal_type) > (kinds.event_type, kinds.signal_type)
        ORDER BY s.event_type, s.signal_type
        LIMIT 1
    ) AS following
)
SELECT newest.*
FROM kinds
CROSS JOIN LATERAL (
    SELECT signal_id, event_id, event_type, customer_id, signal_type, signal_score, occurred_at, received_at,
        trace_id, amount::text AS amount, currency, data::text AS data
    FROM signals
    WHERE tenant_id = %(tenant_id)s
        AND event_type = kinds.event_type
        AND signal_type = kinds.signal_type
        AND (%(min_score)s::real IS NULL OR signal_score >= %(min_score)s::real)
        AND occurred_at >= coalesce(%(since)s::timestamptz, '-infinity')
        AND (occurred_at, signal_id) < (
            coalesce(%(after_at)s::timestamptz, %(until)s::timestamptz, 'infinity'),
            coalesce(%(after_id)s::uuid, '00000000-0000-0000-0000-000000000000')
        )
    ORDER BY occurred_at DESC, signal_id DESC
    LIMIT %(limit)s
) AS newest
WHERE (%(event_types)s::text[] IS NULL OR kinds.event_type = ANY (%(event_types)s::text[]))
    AND (%(signal_types)s::text[] IS NULL OR kinds.signal_type = ANY (%(signal_types)s::text[]))
ORDER BY occurred_at DESC, signal_id DESC
LIMIT %(limit)s;
