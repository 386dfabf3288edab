-- Runs once, as the superuser, when the database is made: the roles of the processes, so that not even the first
-- migration needs a superuser. See docs/howto/give_processes_their_roles.md.
\set ON_ERROR_STOP on
\getenv api SSPP_API_PASSWORD
\getenv worker SSPP_WORKER_PASSWORD
\getenv migrator SSPP_MIGRATOR_PASSWORD
\getenv backup SSPP_BACKUP_PASSWORD

CREATE ROLE sspp_api LOGIN PASSWORD :'api';
CREATE ROLE sspp_worker LOGIN BYPASSRLS PASSWORD :'worker';
-- CREATEROLE: a migration looks after the roles themselves. From PostgreSQL 16 on it gives no power over other ones.
CREATE ROLE sspp_migrator LOGIN BYPASSRLS CREATEROLE PASSWORD :'migrator';
CREATE ROLE sspp_backup LOGIN BYPASSRLS PASSWORD :'backup';
GRANT pg_read_all_data TO sspp_backup;
-- For what the maintenance worker measures of all sessions.
GRANT pg_read_all_stats TO sspp_migrator;
CREATE ROLE sspp_reporting NOLOGIN;
ALTER DATABASE :"DBNAME" OWNER TO sspp_migrator;
