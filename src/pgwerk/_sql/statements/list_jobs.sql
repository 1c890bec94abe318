-- Read a page of jobs in the order of their ids, which sort by time, or backwards ("list_newest_jobs"). Takes no locks; the
-- primary key is walked in that order, between two ids if they are given, until the page is full.
SELECT {job_columns}
FROM {jobs} j
WHERE (%(above)s::uuid IS NULL OR j.id > %(above)s)
    AND (%(below)s::uuid IS NULL OR j.id < %(below)s)
    AND (%(queue)s::text IS NULL OR j.queue = %(queue)s)
    AND (%(statuses)s::text[] IS NULL OR j.status = ANY (%(statuses)s))
    AND (%(worker_id)s::uuid IS NULL OR j.worker_id = %(worker_id)s)
    AND (%(schedule_name)s::text IS NULL OR j.cron_name = %(schedule_name)s)
    AND (
        %(search)s::text IS NULL
        OR concat_ws(E'\n', j.function, j.key, j.group_key, j.error) ILIKE %(search)s
        OR j.meta::text ILIKE %(search_in_json)s
    )
    AND (%(retried)s::boolean IS NULL OR %(retried)s = EXISTS (
        SELECT FROM {executions} e WHERE e.job_id = j.id AND (j.completed_at IS NULL OR e.attempt < j.attempts)
    ))
ORDER BY j.id {direction}
LIMIT %(limit)s OFFSET %(offset)s
