-- Of these jobs, tell those that are still there. Takes no locks; carried by the primary key.
SELECT j.id::text
FROM {jobs} j
WHERE j.id = ANY (%(ids)s::uuid[])
ORDER BY j.id
