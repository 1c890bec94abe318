-- Of the jobs that somebody waits for, read those that are over, and name those that are gone (all columns but the first
-- are NULL). Takes no locks; carried by the primary key.
SELECT wanted.id::text AS wanted_id, {job_columns}
FROM unnest(%(ids)s::uuid[]) AS wanted (id)
LEFT JOIN {jobs} j ON j.id = wanted.id
WHERE j.id IS NULL OR j.completed_at IS NOT NULL
