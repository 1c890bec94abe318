-- Look whether there is anything to do for a worker of these queues, without doing it: scheduled jobs that are due, and
-- seconds until the next one is; jobs that are ready, as in count_ready.sql; and seconds until a callback has to be called,
-- which are negative when one is owed. An idle worker asks this, and nothing else, at each poll interval.
-- Takes no locks. Carried by the due index, the ready indexes and the callbacks index, of which it reads one entry each, for
-- each queue.
SELECT
    (
        SELECT extract(epoch FROM j.scheduled_at - clock_timestamp())::float8
        FROM {jobs} j
        WHERE j.status = 'scheduled'
        ORDER BY j.scheduled_at
        LIMIT 1
    ) AS due_in,
    (
        SELECT extract(epoch FROM min(c.callback_due) - clock_timestamp())::float8
        FROM unnest(%(queues)s::text[]) AS q (queue)
        CROSS JOIN LATERAL (
            SELECT j.callback_due
            FROM {jobs} j
            WHERE j.queue = q.queue AND j.callback_due IS NOT NULL
            ORDER BY j.callback_due
            LIMIT 1
        ) AS c
    ) AS owed_in,
    ({any_ready}) > 0 AS is_ready
