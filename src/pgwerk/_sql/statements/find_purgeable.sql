-- Find finished jobs with these statuses that ended so many days ago, from an id on. Takes no locks; one walk over the
-- primary key for all batches of a purge.
SELECT j.id::text
FROM {jobs} j
WHERE j.id > %(after)s::uuid AND j.status = ANY (%(statuses)s::text[]) AND j.callback_due IS NULL
    AND j.completed_at <= statement_timestamp() - %(days)s * interval '1 day'
ORDER BY j.id
LIMIT %(limit)s
