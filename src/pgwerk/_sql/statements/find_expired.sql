-- Find finished jobs that have been kept for long enough, from a place in their order on. Takes no locks; carried by the
-- expiry index.
SELECT j.id::text, j.expires_at
FROM {jobs} j
WHERE j.expires_at <= statement_timestamp() AND j.completed_at IS NOT NULL AND j.callback_due IS NULL
    AND j.expires_at >= %(time)s::timestamptz AND (j.expires_at, j.id) > (%(time)s::timestamptz, %(id)s::uuid)
ORDER BY j.expires_at, j.id
LIMIT %(limit)s
