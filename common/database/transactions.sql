-- Transactions and sessions are the server's: these statements know no tenant.

-- name: take_number
-- Not what a snapshot says to come next: that is but one more than the highest that has ended.
SELECT pg_current_xact_id()::text::bigint;

-- name: oldest_number
-- Of those that run; a number is given out only once.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint;

-- name: try_lock
SELECT pg_try_advisory_lock(%(lock_key)s);

-- name: unlock
SELECT pg_advisory_unlock(%(lock_key)s);
