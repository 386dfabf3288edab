-- Databases as a whole.

-- name: describe_database
-- Its owner, and how to make another like it.
SELECT pg_get_userbyid(datdba),
       format('ENCODING %%L LOCALE_PROVIDER %%s LC_COLLATE %%L LC_CTYPE %%L',
              pg_encoding_to_char(encoding),
              CASE datlocprovider WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' ELSE 'builtin' END,
              datcollate, datctype)
       || CASE datlocprovider
              WHEN 'i' THEN format(' ICU_LOCALE %%L', locale)
              WHEN 'b' THEN format(' BUILTIN_LOCALE %%L', locale)
              ELSE ''
          END
FROM pg_database
-- Its name depends on the version.
CROSS JOIN LATERAL (
    SELECT coalesce(to_jsonb(pg_database) ->> 'datlocale', to_jsonb(pg_database) ->> 'daticulocale')
) AS named (locale)
WHERE datname = %(name)s;

-- name: list_grants_and_settings
-- What gives the database `target` the rights and settings of the database `name`.
SELECT format('GRANT %%s ON DATABASE %%I TO %%s%%s',
              privilege_type, %(target)s::text,
              CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
              CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
FROM pg_database
CROSS JOIN LATERAL aclexplode(coalesce(datacl, acldefault('d', datdba)))
WHERE datname = %(name)s
UNION ALL
-- Lists of names are kept quoted as they are to be written.
SELECT format('ALTER DATABASE %%I SET %%I TO ', %(target)s::text, split_part(each, '=', 1))
       || CASE
              WHEN split_part(each, '=', 1) IN ('search_path', 'temp_tablespaces', 'session_preload_libraries',
                                                'local_preload_libraries')
              THEN substr(each, strpos(each, '=') + 1)
              ELSE quote_literal(substr(each, strpos(each, '=') + 1))
          END
FROM pg_database
JOIN pg_db_role_setting ON setdatabase = pg_database.oid AND setrole = 0
CROSS JOIN LATERAL unnest(setconfig) AS each
WHERE datname = %(name)s;

-- name: list_abandoned
-- What restores made more than a day ago, and nobody uses.
SELECT datname
FROM pg_database
WHERE starts_with(datname, %(prefix)s) AND datname < %(before)s
  AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE pg_stat_activity.datname = pg_database.datname);

-- name: can_act_as
SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %(role)s AND pg_has_role(current_user, oid, 'MEMBER'));

-- name: create_role
CREATE ROLE {role} NOLOGIN;

-- name: create_role_that_sees_all_rows
-- Whoever loads the tables checks their foreign keys, for which row-level security would hide what is referred to.
CREATE ROLE {role} NOLOGIN BYPASSRLS;

-- name: find_role
SELECT FROM pg_roles WHERE rolname = %(role)s;

-- name: revoke_all
REVOKE ALL ON DATABASE {name} FROM PUBLIC;

-- name: let_connect
GRANT CONNECT ON DATABASE {name} TO PUBLIC;

-- name: drop_database
DROP DATABASE IF EXISTS {name} WITH (FORCE);

-- name: rename_database
ALTER DATABASE {name} RENAME TO {new_name};

-- name: end_sessions
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %(name)s AND pid <> pg_backend_pid();
