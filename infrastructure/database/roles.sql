-- name: enable_login
ALTER ROLE {role} LOGIN PASSWORD {verifier};

-- name: see_all_rows
ALTER ROLE {role} BYPASSRLS;

-- name: act_as_owner
GRANT {owner} TO {role};

-- name: find_owner
SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'events'::regclass;
