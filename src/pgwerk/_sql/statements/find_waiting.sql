-- Find jobs that wait for others, from an id on. Takes no locks; walks the waiting index.
SELECT j.id::text
FROM {jobs} j
WHERE j.status = 'waiting' AND j.id > %(after)s::uuid
ORDER BY j.id
LIMIT %(limit)s
