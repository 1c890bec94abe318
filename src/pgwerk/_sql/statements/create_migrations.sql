-- Where the applied migrations are recorded. Runs under the lock of lock_migrations.sql.
-- CREATE SCHEMA IF NOT EXISTS would ask for a privilege on the database even if there is nothing to create.
DO $create_schema$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = {schema_name}) THEN
        CREATE SCHEMA {schema};
    END IF;
END
$create_schema$;
CREATE TABLE IF NOT EXISTS {migrations} (
    version integer PRIMARY KEY,
    name text NOT NULL,
    ephemeral_tables boolean NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
