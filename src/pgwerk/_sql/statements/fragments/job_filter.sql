-- Which jobs are meant: a condition on {jobs} j. What is NULL lets everything through.
-- Text in metadata is looked for as JSON writes it. A job is as old as its end or, if it has not ended, as its making.
(
    (%(ids)s::uuid[] IS NULL OR j.id = ANY (%(ids)s::uuid[]))
    AND (%(first_id)s::uuid IS NULL OR j.id >= %(first_id)s::uuid)
    AND (%(last_id)s::uuid IS NULL OR j.id <= %(last_id)s::uuid)
    AND (%(queue)s::text IS NULL OR j.queue = %(queue)s)
    AND (%(statuses)s::text[] IS NULL OR j.status = ANY (%(statuses)s))
    AND (%(function)s::text IS NULL OR j.function = %(function)s)
    AND (%(group_key)s::text IS NULL OR j.group_key = %(group_key)s)
    AND (%(worker_id)s::uuid IS NULL OR j.worker_id = %(worker_id)s)
    AND (%(schedule_name)s::text IS NULL OR j.cron_name = %(schedule_name)s)
    AND (
        %(older_than)s::float8 IS NULL
        OR coalesce(j.completed_at, j.enqueued_at) <= statement_timestamp() - %(older_than)s * interval '1 second'
    )
    AND (
        %(search)s::text IS NULL
        OR concat_ws(E'\n', j.function, j.key, j.group_key, j.error) ILIKE %(search)s
        OR j.meta::text ILIKE %(search_in_json)s
    )
    AND (%(retried)s::boolean IS NULL OR %(retried)s = EXISTS (
        SELECT FROM {executions} e WHERE e.job_id = j.id AND (j.completed_at IS NULL OR e.attempt < j.attempts)
    ))
)
