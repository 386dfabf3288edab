-- Which transactions an erasure waits for survives the drain that noted it.

-- By the state in which it waits: the number before which all have to have ended. By state, so that a worker that does not
-- know of this column, and goes from one state to the next, leaves no number that a later state would take for its own.
ALTER TABLE erasures ADD COLUMN awaited jsonb NOT NULL DEFAULT '{}';
