-- Which search index serves a month, and which one is being built for it (common/search/generations.py).

-- A month without a row is served by generation 1, signals-2026-11, and not being rebuilt; generation 2 is
-- signals-2026-11-g2. An index holds the month of all tenants, so this table knows none.
CREATE TABLE search_indices (
    month            date PRIMARY KEY CHECK (month = date_trunc('month', month)),
    generation       integer NOT NULL DEFAULT 1,
    -- The generation that sspp reindex builds, if any: until it serves, every document is written to both.
    rebuilding       integer CHECK (rebuilding > generation),
    started_at       timestamptz,
    -- What it was begun with; under other versions of template or documents it is begun anew.
    template_version integer,
    document_version integer,
    -- How far its signals are copied, in the order of their ids, and how many that were.
    copied_through   uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    copied           bigint NOT NULL DEFAULT 0
);
