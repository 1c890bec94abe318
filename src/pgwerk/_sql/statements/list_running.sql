-- List running jobs, the one that has run longest first, with the seconds since its start by the database's own clock.
-- Takes no locks; carried by the running index, whose entries are as many as jobs run.
SELECT
    j.id::text, j.function, j.queue, j.status, j.attempts, j.max_attempts, j.worker_id::text, j.started_at,
    extract(epoch FROM statement_timestamp() - j.started_at)::float8
FROM {jobs} j
WHERE j.status IN ('active', 'aborting')
ORDER BY j.started_at, j.id
LIMIT %(limit)s
