-- Read the jobs that a job waits for, or has waited for. Takes no locks; carried by the primary keys.
-- One row with NULL for a job without any; none for a job that does not exist.
SELECT d.parent_id::text
FROM {jobs} j
LEFT JOIN {dependencies} d ON d.child_id = j.id
WHERE j.id = %(id)s::uuid
ORDER BY d.parent_id
