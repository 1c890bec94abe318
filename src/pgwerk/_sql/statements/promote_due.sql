-- Make scheduled jobs ready whose time has come, and say how long it is until the next one. Rows that others hold are
-- skipped, so that two that run at once share the work; locks in the order of the due index, which carries it.
WITH due AS (
    SELECT j.id
    FROM {jobs} j
    WHERE j.status = 'scheduled' AND j.scheduled_at <= statement_timestamp()
    ORDER BY j.scheduled_at
    LIMIT %(limit)s
    FOR NO KEY UPDATE SKIP LOCKED
), promoted AS (
    UPDATE {jobs} j
    SET status = 'queued'
    FROM due
    WHERE j.id = due.id
    RETURNING j.queue
), announced AS (
    SELECT pg_notify({ready_channel}, 'q' || ready.queue) AS done
    FROM (SELECT DISTINCT queue FROM promoted) AS ready
)
SELECT
    (SELECT count(*) FROM promoted) AS promoted,
    (
        SELECT extract(epoch FROM min(j.scheduled_at) - clock_timestamp())::float8
        FROM {jobs} j
        WHERE j.status = 'scheduled' AND j.scheduled_at > statement_timestamp()
    ) AS next_in,
    (SELECT count(done) FROM announced) AS announced
