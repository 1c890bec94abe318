-- Read the jobs that wait for a job, or have waited for it. Takes no locks; carried by the primary key and the index over
-- parents.
-- One row with NULL for a job without any; none for a job that does not exist.
SELECT d.child_id::text
FROM {jobs} j
LEFT JOIN {dependencies} d ON d.parent_id = j.id
WHERE j.id = %(id)s::uuid
ORDER BY d.child_id
