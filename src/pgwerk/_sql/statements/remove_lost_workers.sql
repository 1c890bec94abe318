-- Forget workers that have not been heard of for a day and run nothing. Rows that others hold are skipped.
DELETE FROM {workers}
WHERE id IN (
    SELECT w.id
    FROM {workers} w
    WHERE w.heartbeat_at < statement_timestamp() - interval '1 day'
        AND NOT EXISTS (SELECT FROM {jobs} j WHERE j.status IN ('active', 'aborting') AND j.worker_id = w.id)
    ORDER BY w.id
    FOR UPDATE SKIP LOCKED
)
