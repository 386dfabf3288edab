-- Traces go on from what stores a batch to what indexes it. Instant: a column that may be NULL, without a default.

-- The context (W3C traceparent, and after a space tracestate) of the span that stored the batch; NULL unless it was
-- traced. Workers that do not know of it neither fill nor read it.
ALTER TABLE outbox ADD COLUMN trace_context text;
