-- Find jobs that have not started, of those that were there at a moment (by default, now), in the order of their ids, from
-- an id on; those that wait for others apart from the rest. Takes no locks; carried by the waiting index, or by the ready
-- and due indexes, which it walks as a whole: so it is asked for many at a time.
SELECT unstarted.id::text, coalesce(%(until)s::timestamptz, statement_timestamp()) AS until
FROM (
    SELECT j.id, j.queue, j.enqueued_at FROM {jobs} j WHERE %(waiting)s AND j.status = 'waiting'
    UNION ALL
    SELECT j.id, j.queue, j.enqueued_at FROM {jobs} j WHERE NOT %(waiting)s AND j.status = 'queued' AND j.group_key IS NULL
    UNION ALL
    SELECT j.id, j.queue, j.enqueued_at
    FROM {jobs} j
    WHERE NOT %(waiting)s AND j.status = 'queued' AND j.group_key IS NOT NULL
    UNION ALL
    SELECT j.id, j.queue, j.enqueued_at FROM {jobs} j WHERE NOT %(waiting)s AND j.status = 'scheduled'
) AS unstarted
WHERE (%(queue)s::text IS NULL OR unstarted.queue = %(queue)s) AND unstarted.id > %(after)s::uuid
    AND unstarted.enqueued_at <= coalesce(%(until)s::timestamptz, statement_timestamp())
ORDER BY unstarted.id
LIMIT %(limit)s
