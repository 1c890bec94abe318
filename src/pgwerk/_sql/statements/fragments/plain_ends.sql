-- What settle_complete.sql does. Locks the jobs in the order of the parameters, and is carried by the primary key.
held AS MATERIALIZED (
    SELECT i.id, i.attempt, i.result
    FROM unnest(%(id)s::uuid[], %(attempt)s::integer[], %(result)s::jsonb[]) AS i (id, attempt, result)
    CROSS JOIN LATERAL (
        SELECT
        FROM {jobs} r
        WHERE r.id = i.id AND r.worker_id = %(worker_id)s::uuid AND r.attempts = i.attempt AND r.completed_at IS NULL
            AND r.status <> 'aborting'
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS j
), settled AS (
    UPDATE {jobs} j
    SET status = 'complete', result = h.result, error = NULL, completed_at = statement_timestamp(),
        -- Who waits for a job must have the time to read it. NULL keeps the row.
        expires_at = statement_timestamp() + CASE
            WHEN j.awaited AND j.result_ttl < {awaited_secs} THEN {awaited_secs}
            ELSE j.result_ttl
        END * interval '1 second'
    FROM held h
    WHERE j.id = h.id
    RETURNING j.id, h.attempt, j.worker_id, j.started_at, j.awaited
        , j.queue, j.group_key                                                                          --? groups
), remembered AS (
    INSERT INTO {executions} (job_id, attempt, status, worker_id, started_at, completed_at)
    SELECT id, attempt, 'complete', worker_id, started_at, statement_timestamp()
    FROM settled
), announced AS (
    SELECT pg_notify({done_channel}, string_agg(batch.id::text, ',')) AS done
    FROM (SELECT id, (row_number() OVER () - 1) / 200 AS number FROM settled WHERE awaited) AS batch
    GROUP BY batch.number
    UNION ALL                                                                                           --? groups
    SELECT pg_notify({ready_channel}, 'q' || ready.queue) AS done                                       --? groups
    FROM (                                                                                              --? groups
        SELECT DISTINCT s.queue                                                                     --? groups
        FROM settled s                                                                              --? groups
        CROSS JOIN LATERAL (                                                                        --? groups
            SELECT FROM {jobs} r                                                                    --? groups
            WHERE r.queue = s.queue AND r.status = 'queued' AND r.group_key = s.group_key           --? groups
            LIMIT 1                                                                                 --? groups
        ) AS next                                                                                   --? groups
        WHERE s.group_key IS NOT NULL                                                               --? groups
    ) AS ready                                                                                          --? groups
)
