-- name: enable_login
ALTER ROLE {role} LOGIN PASSWORD {verifier};

-- name: see_all_rows
ALTER ROLE {role} BYPASSRLS;

-- name: see_all_sessions
GRANT pg_read_all_stats TO {role};

-- name: act_as_owner
GRANT {owner} TO {role};

-- name: list_other_owners
-- Whose the schema's tables and functions are, but for what extensions made.
SELECT DISTINCT pg_get_userbyid(owner)
FROM (
    SELECT relowner, oid, 'pg_class'::regclass
    FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')
    UNION ALL
    SELECT proowner, oid, 'pg_proc'::regclass
    FROM pg_proc
    WHERE pronamespace = current_schema()::regnamespace
) AS objects (owner, object, catalog)
WHERE owner <> (SELECT oid FROM pg_roles WHERE rolname = %(role)s)
  AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = catalog AND objid = object AND deptype = 'e')
ORDER BY 1;

-- name: give_to_role
-- What a superuser, or who can become one, has made here becomes the role's own. Sequences of columns go with their tables,
-- what extensions made stays theirs.
DO $$
DECLARE
    statement text;
BEGIN
    -- Not for long: all others queue up behind a lock that is waited for.
    PERFORM set_config('lock_timeout', '3s', true);
    EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO %I', current_schema(), {role});
    FOR statement IN
        WITH objects AS (
            SELECT 'TABLE' AS kind, oid::regclass::text AS name, oid, 'pg_class'::regclass AS catalog, relowner AS owner
            FROM pg_class
            WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')
            UNION ALL
            SELECT 'ROUTINE', oid::regprocedure::text, oid, 'pg_proc'::regclass, proowner
            FROM pg_proc
            WHERE pronamespace = current_schema()::regnamespace
        )
        SELECT format('ALTER %s %s OWNER TO %I', kind, name, {role})
        FROM objects
        WHERE EXISTS (SELECT FROM pg_roles WHERE rolsuper AND pg_has_role(owner, pg_roles.oid, 'MEMBER'))
          AND NOT EXISTS (
              SELECT FROM pg_depend
              JOIN pg_class ON pg_class.oid = objid
              WHERE classid = 'pg_class'::regclass AND objid = objects.oid AND objects.kind = 'TABLE'
                AND relkind = 'S' AND deptype IN ('a', 'i')
          )
          AND NOT EXISTS (
              SELECT FROM pg_depend WHERE classid = catalog AND objid = objects.oid AND deptype = 'e'
          )
        ORDER BY kind, name
    LOOP
        EXECUTE statement;
    END LOOP;
END
$$;
