-- name: select_nothing
-- Fails unless the tables and columns that the stages need are there and may be read.
SELECT event_keys.tenant_id, customers.heat, outbox.put_off_until, search_indices.rebuilding,
       index_marks.losses
FROM event_keys, events, signals, customers, rejected_events, event_types, outbox, search_indices, index_marks
LIMIT 0
