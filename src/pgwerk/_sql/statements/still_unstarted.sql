-- Of these jobs, tell those that have not started, and whether they wait for others. Takes no locks; carried by the primary
-- key.
SELECT j.id::text, j.status = 'waiting' AS waits
FROM {jobs} j
WHERE j.id = ANY (%(ids)s::uuid[]) AND j.status IN ('scheduled', 'queued', 'waiting')
ORDER BY j.id
