-- The indexes of the tables with these names, and whether each can be used. Takes no locks; reads the catalogues by name.
SELECT i.relname::text, x.indisvalid AND x.indisready
FROM pg_catalog.pg_index x
JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
JOIN pg_catalog.pg_class c ON c.oid = x.indrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s::text AND c.relname = ANY (%(tables)s::text[])
ORDER BY i.relname
