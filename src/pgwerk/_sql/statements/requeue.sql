-- Make failed and aborted jobs ready once more, with as many attempts as a new job has; the history stays. A job that
-- depends on any that has not ended waits for it again, and so does one that depends on another one which is requeued
-- together with it, be it here or, because somebody held it, in one of the next tries.
-- Locks in the order of the ids; rows that others hold are skipped, and the caller comes back for them. Carried by the
-- primary key.
WITH held AS MATERIALIZED (
    SELECT j.id
    FROM {jobs} j
    WHERE j.id = ANY (%(ids)s::uuid[]) AND j.status IN ('failed', 'aborted')
    ORDER BY j.id
    FOR NO KEY UPDATE SKIP LOCKED
), requeued AS (
    UPDATE {jobs} j
    SET status = CASE WHEN EXISTS (
            SELECT
            FROM {dependencies} d
            CROSS JOIN LATERAL (SELECT p.status, p.completed_at FROM {jobs} p WHERE p.id = d.parent_id OFFSET 0) AS parent
            WHERE d.child_id = j.id AND (
                parent.completed_at IS NULL
                OR (d.parent_id = ANY (%(together)s::uuid[]) AND parent.status IN ('failed', 'aborted'))
            )
        ) THEN 'waiting' ELSE 'queued' END,
        max_attempts = least(j.attempts::bigint + j.attempts_per_round, 2147483647)::integer,
        scheduled_at = statement_timestamp(),
        -- Only one that has never started can expire.
        expires_at = CASE WHEN j.attempts = 0 THEN statement_timestamp() + j.ttl * interval '1 second' END,
        completed_at = NULL, error = NULL, result = NULL, worker_id = NULL, started_at = NULL, touched_at = NULL
    FROM held
    WHERE j.id = held.id
    RETURNING j.id, j.queue, j.status
), announced AS (
    SELECT pg_notify({ready_channel}, 'q' || ready.queue) AS done
    FROM (SELECT DISTINCT queue FROM requeued WHERE status = 'queued') AS ready
)
SELECT id::text, status, (SELECT count(done) FROM announced) AS announced
FROM requeued
