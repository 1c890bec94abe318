-- Of the jobs that somebody waits for, read those that are over, and name those that are gone (all but the first column
-- NULL). Takes no locks, so any number of them can run at once; a statement of its own, after await_jobs.sql, because
-- its snapshot must see what ended before the mark was there. Carried by the primary key.
SELECT wanted.id::text AS wanted_id, {job_columns}
FROM unnest(%(ids)s::uuid[]) AS wanted (id)
LEFT JOIN {jobs} j ON j.id = wanted.id
WHERE j.id IS NULL OR j.completed_at IS NOT NULL
