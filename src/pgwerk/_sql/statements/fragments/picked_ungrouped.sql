-- The best jobs of one queue that has no jobs with a group, locked. Carried by the ready index.
picked AS (
    SELECT j.id
    FROM {jobs} j
    WHERE j.queue = %(queue)s AND j.status = 'queued' AND j.group_key IS NULL
        AND (j.expires_at IS NULL OR j.expires_at > statement_timestamp())
        AND NOT EXISTS (
            SELECT FROM {jobs} g WHERE g.queue = %(queue)s AND g.status = 'queued' AND g.group_key IS NOT NULL
        )
    ORDER BY j.priority DESC, j.scheduled_at, j.id
    LIMIT %(limit)s
    FOR NO KEY UPDATE SKIP LOCKED
)
