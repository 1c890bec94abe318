-- Delete jobs that have failed for good with failure_mode "delete", with their history, right after they were settled.
-- What is skipped here (held by others, or a child still waits for it) goes with the sweep. Carried by the primary key.
WITH gone AS (
    DELETE FROM {jobs}
    WHERE id IN (
        SELECT j.id
        FROM {jobs} j
        WHERE j.id = ANY (%(ids)s::uuid[]) AND j.completed_at IS NOT NULL AND j.callback_due IS NULL
            AND NOT EXISTS (
                SELECT FROM {dependencies} d JOIN {jobs} c ON c.id = d.child_id
                WHERE d.parent_id = j.id AND c.status = 'waiting'
            )
        ORDER BY j.id
        FOR UPDATE SKIP LOCKED
    )
    RETURNING id
), history AS (
    DELETE FROM {executions} e USING gone WHERE e.job_id = gone.id
)
SELECT count(*) AS removed FROM gone
