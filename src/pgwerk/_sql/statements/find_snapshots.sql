-- Find what keeps vacuum from removing dead rows here: transactions of this database and of standbys, prepared
-- transactions, and replication slots, with their age in transactions and, where it is known, in seconds. No texts of
-- queries. Takes no locks. A vacuum does not hold up another one, so sessions that vacuum are left out.
SELECT
    'session', a.pid::text, concat_ws(', ', a.usename, nullif(a.application_name, ''), a.state),
    greatest(age(a.backend_xmin), age(a.backend_xid))::bigint AS transactions,
    extract(epoch FROM statement_timestamp() - a.xact_start)::float8
FROM pg_catalog.pg_stat_activity a
WHERE (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL) AND a.pid <> pg_backend_pid()
    AND (a.datname IS NULL OR a.datname = current_database())
    AND a.backend_type IS DISTINCT FROM 'autovacuum worker'
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_vacuum v WHERE v.pid = a.pid)
UNION ALL
SELECT
    'prepared transaction', p.gid, p.owner::text, age(p.transaction)::bigint,
    extract(epoch FROM statement_timestamp() - p.prepared)::float8
FROM pg_catalog.pg_prepared_xacts p
WHERE p.database = current_database()
UNION ALL
SELECT
    'replication slot', s.slot_name::text, CASE WHEN s.active THEN 'active' ELSE 'inactive' END, age(s.xmin)::bigint, NULL
FROM pg_catalog.pg_replication_slots s
WHERE s.xmin IS NOT NULL
ORDER BY transactions DESC
LIMIT 100
