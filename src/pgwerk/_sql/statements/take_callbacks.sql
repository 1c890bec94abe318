-- Take up callbacks that are owed in some queues, the one that has been due for longest first, and keep others from taking
-- them up for a while. Whoever has not called one by then is taken for lost.
-- Locks what it takes; rows that others hold are skipped. Carried by the callbacks index, one scan for each queue; rows that
-- the last limit cuts off are locked for no longer than the statement takes. Two that run at once take different ones.
WITH due AS MATERIALIZED (
    SELECT c.id
    FROM unnest(%(queues)s::text[]) AS q (queue)
    CROSS JOIN LATERAL (
        SELECT j.id
        FROM {jobs} j
        WHERE j.queue = q.queue AND j.callback_due <= statement_timestamp()
        ORDER BY j.callback_due
        LIMIT %(limit)s
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS c
    LIMIT %(limit)s
)
UPDATE {jobs} j
SET callback_due = statement_timestamp() + %(secs)s * interval '1 second', callback_tries = j.callback_tries + 1
FROM due
WHERE j.id = due.id
RETURNING
    j.callback, CASE j.callback
        WHEN 'on_success' THEN j.on_success_timeout
        WHEN 'on_failure' THEN j.on_failure_timeout
        ELSE j.on_stopped_timeout
    END AS timeout,
    j.callback_tries, j.callback_due, {job_columns}
