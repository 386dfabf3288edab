-- name: select_nothing
-- Fails unless the tables and columns that the stages need are there and may be read.
SELECT event_keys.tenant_id, customers.heat, outbox.trace_context, search_indices.rebuilding,
       index_marks.losses, event_types.status, schema_violations.events, usage_parts.events, tombstones.erased_at
FROM event_keys, events, signals, customers, rejected_events, event_types, outbox, search_indices, index_marks, usage_parts,
     tombstones, schema_violations
LIMIT 0
