-- What the server is, and the settings that matter here. Takes no locks; reads settings, and counters that every role may
-- read. `sees_all` tells whether this role is shown what the sessions of others do.
SELECT
    current_setting('server_version'),
    current_setting('server_version_num')::integer,
    current_database()::text,
    current_user::text,
    pg_postmaster_start_time(),
    pg_is_in_recovery(),
    pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all,
    current_setting('fsync')::boolean,
    current_setting('full_page_writes')::boolean,
    current_setting('synchronous_commit') <> 'off',
    current_setting('autovacuum')::boolean,
    current_setting('autovacuum_freeze_max_age')::bigint,
    current_setting('max_connections')::integer
        - current_setting('superuser_reserved_connections')::integer
        - coalesce(current_setting('reserved_connections', true)::integer, 0) AS open_to_all,
    (SELECT sum(numbackends) FROM pg_catalog.pg_stat_database)::integer,
    d.datconnlimit,
    (SELECT numbackends FROM pg_catalog.pg_stat_database WHERE datid = d.oid)
FROM pg_catalog.pg_database d
WHERE d.datname = current_database()
