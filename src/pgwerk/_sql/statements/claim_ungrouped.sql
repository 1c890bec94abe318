-- Claim the best jobs of one queue in one statement, as long as no job of the queue that is ready has a group: with
-- groups, jobs of both kinds have to be compared first (look.sql, claim_looked.sql), and this claims nothing.
-- Locks what it claims; rows that others hold are skipped. Carried by the ready index, of which it reads as many
-- entries as it claims. Two that run at once share the head of the queue between them.
WITH picked AS (
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
UPDATE {jobs} j
SET status = 'active', worker_id = %(worker_id)s::uuid, attempts = j.attempts + 1, started_at = statement_timestamp(),
    touched_at = statement_timestamp(), expires_at = NULL
FROM picked
WHERE j.id = picked.id
RETURNING {job_columns}
