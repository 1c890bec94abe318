-- Count jobs by their status. Takes no locks; reads the whole table, unless ids are given, or a status that a partial index
-- is about.
SELECT j.status, count(*)
FROM {jobs} j
WHERE {job_filter}
GROUP BY j.status
