-- Say that a running job is alive. Waits for nobody: a row that is locked is being settled, or touched by another.
-- `touched_at` is in no index, so this is a HOT update. Carried by the primary key.
WITH running AS (
    SELECT j.id
    FROM {jobs} j
    WHERE j.id = ANY (%(ids)s::uuid[]) AND j.status IN ('active', 'aborting')
        AND (%(worker_id)s::uuid IS NULL OR j.worker_id = %(worker_id)s)
    ORDER BY j.id
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE {jobs} j
SET touched_at = statement_timestamp()
FROM running
WHERE j.id = running.id
