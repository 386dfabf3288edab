-- How far each search index is known to have got, so that a server that lost writes is found out (worker/index_marks.py).

-- An index holds the month of all tenants, so this table knows none.
CREATE TABLE index_marks (
    index_name             text PRIMARY KEY,
    -- The month of received_at whose signals the index holds.
    received_from          timestamptz NOT NULL,
    received_until         timestamptz NOT NULL,
    -- When each data node of the cluster had started, in milliseconds, by node id; empty if the server does not say.
    nodes                  jsonb NOT NULL,
    -- The document with the highest _seq_no of which the index stage has the answer; none right after a loss.
    newest_id              uuid,
    newest_seq_no          bigint,
    -- The same as it was some minutes ago. While that document is there, all that was indexed before is there too.
    checkpoint_id          uuid,
    checkpoint_seq_no      bigint,
    checkpoint_at          timestamptz NOT NULL,
    -- And what becomes the checkpoint next.
    next_checkpoint_id     uuid,
    next_checkpoint_seq_no bigint,
    next_checkpoint_at     timestamptz NOT NULL,
    -- How many losses were acted upon: who wrote before one of them does not know what became of it.
    losses                 integer NOT NULL DEFAULT 0,
    -- While the whole month is sent again: the last signal that was put into the outbox for it.
    refilled_through       uuid
);
