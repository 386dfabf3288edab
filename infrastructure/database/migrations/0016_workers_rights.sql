-- What ingest and index workers do not do they may not do either. Who erases, expires, rebuilds and publishes has the
-- owner's rights: rq worker maintenance, and the commands.
REVOKE UPDATE, DELETE ON event_keys, events, signals FROM sspp_worker;
REVOKE DELETE ON customers, rejected_events, outbox FROM sspp_worker;
REVOKE INSERT, UPDATE, DELETE ON event_types, search_indices FROM sspp_worker;
REVOKE SELECT ON tenants, schema_migrations FROM sspp_worker;
