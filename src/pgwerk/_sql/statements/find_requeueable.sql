-- Find jobs that can be requeued, from an id on. Takes no locks; one walk over the primary key for all batches.
SELECT j.id::text
FROM {jobs} j
WHERE j.id > %(after)s::uuid AND j.status IN ('failed', 'aborted')
    AND (%(queue)s::text IS NULL OR j.queue = %(queue)s)
    AND (%(function)s::text IS NULL OR j.function = %(function)s)
ORDER BY j.id
LIMIT %(limit)s
