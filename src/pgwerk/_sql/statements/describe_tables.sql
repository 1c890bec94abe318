-- How large the tables with these names are, and how well vacuum keeps up with them. Locks each against being dropped, for
-- as long as its size is taken; the catalogues are read by name.
SELECT
    c.relname::text,
    CASE WHEN c.reltuples < 0 THEN coalesce(s.n_live_tup, 0) ELSE c.reltuples::bigint END,
    pg_table_size(c.oid),
    pg_indexes_size(c.oid),
    c.relpersistence = 'u',
    coalesce((
        SELECT NOT bool_or(o.option_value::boolean)
        FROM pg_options_to_table(c.reloptions) o
        WHERE o.option_name = 'autovacuum_enabled'
    ), false) AS without_autovacuum,
    coalesce(s.n_live_tup, 0),
    coalesce(s.n_dead_tup, 0),
    greatest(s.last_vacuum, s.last_autovacuum),
    age(c.relfrozenxid)::bigint,
    mxid_age(c.relminmxid)::bigint
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_stat_all_tables s ON s.relid = c.oid
WHERE n.nspname = %(schema)s::text AND c.relname = ANY (%(tables)s::text[]) AND c.relkind = 'r'
ORDER BY array_position(%(tables)s::text[], c.relname::text)
