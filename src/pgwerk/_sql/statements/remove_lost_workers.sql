-- Forget workers that have not been heard of for a day and run nothing; and do not notify those any more whose lease has run
-- out. One that comes back reads in its heartbeat that it is not notified. Rows that others hold are skipped.
WITH lost AS (
    SELECT
        w.id,
        w.heartbeat_at < statement_timestamp() - interval '1 day' AND NOT EXISTS (
            SELECT FROM {jobs} j WHERE j.status IN ('active', 'aborting') AND j.worker_id = w.id
        ) AS is_over
    FROM {workers} w
    WHERE w.heartbeat_at < statement_timestamp() - interval '1 day'
        OR (w.wants_news AND w.heartbeat_at < statement_timestamp() - w.lease_secs * interval '1 second')
    ORDER BY w.id
    FOR UPDATE SKIP LOCKED
), silenced AS (
    UPDATE {workers} w
    SET wants_news = false
    FROM lost
    WHERE w.id = lost.id AND w.wants_news AND NOT lost.is_over
)
DELETE FROM {workers} w
USING lost
WHERE w.id = lost.id AND lost.is_over
