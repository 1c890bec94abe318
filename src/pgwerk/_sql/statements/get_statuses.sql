-- Read the statuses of jobs, in the order of their ids. Takes no locks; reads the whole table, unless ids are given.
SELECT j.id::text, j.status
FROM {jobs} j
WHERE {job_filter}
ORDER BY j.id
