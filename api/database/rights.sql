-- name: select_rights
-- Roles that one could change to (SET ROLE) count like one's own.
SELECT EXISTS (
           SELECT FROM pg_roles
           WHERE (rolsuper OR rolbypassrls) AND pg_has_role(current_user, pg_roles.oid, 'MEMBER')
       ) AS bypasses,
       EXISTS (
           SELECT FROM pg_class
           WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
             AND pg_has_role(current_user, relowner, 'MEMBER')
       ) AS owns_tables;
