-- Make jobs that are locked a worker's own. Carried by the primary key.
UPDATE {jobs} j
SET status = 'active', worker_id = %(worker_id)s::uuid, attempts = j.attempts + 1, started_at = statement_timestamp(),
    touched_at = statement_timestamp(), expires_at = NULL
WHERE j.id = ANY (ARRAY(SELECT id FROM picked))
