-- Read the attempts at a job, the first one first. An attempt is recorded when it ends; the one that runs is taken from
-- the job row, under the id that it will have. Takes no locks; carried by the primary keys.
SELECT
    md5(e.job_id::text || ':' || e.attempt)::uuid::text AS id, e.job_id::text, e.attempt, e.status,
    e.worker_id::text, e.error, CASE WHEN e.status = 'complete' THEN j.result END::text AS result,
    e.started_at, e.completed_at, e.max_memory
FROM {executions} e
JOIN {jobs} j ON j.id = e.job_id
WHERE e.job_id = %(id)s::uuid
UNION ALL
SELECT
    md5(j.id::text || ':' || j.attempts)::uuid::text, j.id::text, j.attempts, 'running', j.worker_id::text, NULL, NULL,
    j.started_at, NULL, NULL
FROM {jobs} j
WHERE j.id = %(id)s::uuid AND j.status IN ('active', 'aborting')
ORDER BY attempt
