-- Say that a worker is alive, and extend its lease. One row per worker, which only that worker writes; a sweep that takes it
-- for lost ends its wish for news.
-- Returned: whether the row says that the worker wants news: one that has been away says that it does not. And whether any
-- running job may be an orphan, so that only who hears of one has to lock something. That takes no locks, and is carried
-- by the running index. The row counts as it was before, so a worker that was cut off may suspect its own jobs;
-- lock_orphans.sql knows better.
INSERT INTO {workers} AS w (
    id, kind, host, pid, queues, concurrency, version, running, started_at, heartbeat_at, lease_secs
)
VALUES (
    %(id)s::uuid, %(kind)s, %(host)s, %(pid)s, %(queues)s::text[], %(concurrency)s, %(version)s, %(running)s,
    statement_timestamp(), statement_timestamp(), %(lease_secs)s
)
ON CONFLICT (id) DO UPDATE
SET heartbeat_at = statement_timestamp(), running = excluded.running, lease_secs = excluded.lease_secs
RETURNING w.wants_news, (SELECT count(*) FROM (SELECT {orphaned} LIMIT 1) AS orphan) > 0 AS has_orphans
