-- Whether the table of migrations is there. Takes no locks. Reads the catalogue itself: to_regclass() looks into a cache
-- of the session, which may not have heard yet of a table that another session created while this one waited.
SELECT EXISTS (
    SELECT
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %(schema)s AND c.relname = %(table)s
)
