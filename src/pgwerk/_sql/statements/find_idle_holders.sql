-- Find sessions that have locks on the tables with these names and wait for their own client to go on with a transaction.
-- Takes no locks, but for an instant those that guard the list of locks.
SELECT a.pid, concat_ws(', ', a.usename, nullif(a.application_name, '')),
    extract(epoch FROM statement_timestamp() - a.state_change)::float8 AS idle_secs
FROM pg_catalog.pg_stat_activity a
WHERE a.state LIKE 'idle in transaction%%' AND EXISTS (
    SELECT
    FROM pg_catalog.pg_locks l
    JOIN pg_catalog.pg_class c ON c.oid = l.relation
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE l.pid = a.pid AND l.granted AND l.database = (
            SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database()
        )
        AND n.nspname = %(schema)s::text AND c.relname = ANY (%(tables)s::text[])
)
ORDER BY idle_secs DESC
LIMIT 100
