-- Delete finished jobs that have been kept for long enough, with their history; a parent that somebody still waits for
-- and a job whose callback is owed stay. Locks in the order of the expiry index, which carries it; rows that others hold
-- are skipped.
WITH gone AS (
    DELETE FROM {jobs}
    WHERE id IN (
        SELECT j.id
        FROM {jobs} j
        WHERE j.expires_at <= statement_timestamp() AND j.completed_at IS NOT NULL AND j.callback_due IS NULL
            AND NOT EXISTS (
                SELECT FROM {dependencies} d JOIN {jobs} c ON c.id = d.child_id
                WHERE d.parent_id = j.id AND c.status = 'waiting'
            )
        ORDER BY j.expires_at
        LIMIT %(limit)s
        FOR UPDATE SKIP LOCKED
    )
    RETURNING id
), history AS (
    DELETE FROM {executions} e USING gone WHERE e.job_id = gone.id
)
SELECT count(*) AS removed FROM gone
