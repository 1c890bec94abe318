-- Read a page of jobs, the newest first. Ids sort by time, so a page stays where it is while jobs are added, apart from
-- those that come before the first. Takes no locks; the primary key is walked backwards until the page is full.
SELECT {job_columns}
FROM {jobs} j
WHERE (%(queue)s::text IS NULL OR j.queue = %(queue)s)
    AND (%(statuses)s::text[] IS NULL OR j.status = ANY (%(statuses)s))
    AND (%(worker_id)s::uuid IS NULL OR j.worker_id = %(worker_id)s)
    AND (%(schedule_name)s::text IS NULL OR j.cron_name = %(schedule_name)s)
    AND (%(search)s::text IS NULL OR concat_ws(
        E'\n', j.function, j.key, j.group_key, j.meta::text, j.error
    ) ILIKE %(search)s)
    AND (%(retried)s::boolean IS NULL OR %(retried)s = EXISTS (
        SELECT FROM {executions} e WHERE e.job_id = j.id AND (j.completed_at IS NULL OR e.attempt < j.attempts)
    ))
ORDER BY j.id DESC
LIMIT %(limit)s OFFSET %(offset)s
