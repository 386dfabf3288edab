-- Upkeep is about tables as a whole: its statements know no tenant.

-- name: fold_usage
-- In one statement, so that whoever adds both tables up counts each event once. Two at a time leave each other's parts,
-- and lock months in the same order.
WITH folded AS (
    DELETE FROM usage_parts WHERE ctid = ANY (
        ARRAY(SELECT ctid FROM usage_parts LIMIT %(batch)s FOR UPDATE SKIP LOCKED)
    )
    RETURNING tenant_id, month, events
), added AS (
    INSERT INTO usage (tenant_id, month, events)
    SELECT tenant_id, month, sum(events) FROM folded GROUP BY tenant_id, month ORDER BY tenant_id, month
    ON CONFLICT (tenant_id, month) DO UPDATE SET events = usage.events + excluded.events
)
SELECT count(*) FROM folded;

-- name: delete_customers_of_deleted_tenants
-- Whose events are all gone, by the retention of their tenant or the platform's. A day is for what was queued, and what
-- keys still sent that were known while PostgreSQL was away.
DELETE FROM customers WHERE ctid = ANY (
    ARRAY(
        SELECT customers.ctid
        FROM tenants
        JOIN customers USING (tenant_id)
        WHERE tenants.status = 'deleted'
          AND greatest(tenants.expired_until, %(cutoff)s::timestamptz) > tenants.status_since + interval '1 day'
        LIMIT %(batch)s
        FOR UPDATE OF customers SKIP LOCKED
    )
);

-- name: delete_indexed_outbox
DELETE FROM outbox WHERE ctid = ANY (
    ARRAY(
        SELECT ctid
        FROM outbox
        WHERE indexed_at < %(cutoff)s
          AND NOT EXISTS (
              -- Sent again should the index turn out to have lost its last writes, however long the server is away.
              SELECT FROM index_marks AS mark
              WHERE outbox.indexed_at >= mark.checkpoint_at
                AND outbox.received_until >= mark.received_from
                AND outbox.received_from < mark.received_until
          )
        LIMIT %(batch)s
        FOR UPDATE SKIP LOCKED
    )
);
