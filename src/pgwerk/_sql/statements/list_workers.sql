-- List the workers that have a row, the one that has run longest first, and say which leases last, by the database's own
-- clock. Takes no locks; reads the whole table, which has one row per worker.
SELECT
    w.id::text, w.kind, w.host, w.pid, w.queues, w.concurrency, w.running, w.version, w.started_at, w.heartbeat_at,
    w.lease_secs, lease.expires_at, lease.expires_at > statement_timestamp()
FROM {workers} w
CROSS JOIN LATERAL (SELECT w.heartbeat_at + w.lease_secs * interval '1 second' AS expires_at) AS lease
ORDER BY w.started_at, w.id
