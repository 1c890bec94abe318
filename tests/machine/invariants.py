"""What is true of the tables at every moment, whatever has happened to them: said in SQL, without the model."""

from __future__ import annotations

INVARIANTS = {
    "a job has the time of its end if and only if it is over": """
        SELECT j.id FROM {jobs} j
        WHERE (j.status IN ('complete', 'failed', 'aborted')) <> (j.completed_at IS NOT NULL)
    """,
    "a running job has a worker, a start, a sign of life and an attempt, and cannot expire": """
        SELECT j.id FROM {jobs} j
        WHERE j.status IN ('active', 'aborting') AND (
            j.worker_id IS NULL OR j.started_at IS NULL OR j.touched_at IS NULL OR j.attempts = 0
            OR j.expires_at IS NOT NULL
        )
    """,
    "a job that has not started, or not again, has neither worker nor start nor sign of life nor result": """
        SELECT j.id FROM {jobs} j
        WHERE j.status IN ('scheduled', 'queued', 'waiting') AND (
            j.worker_id IS NOT NULL OR j.started_at IS NOT NULL OR j.touched_at IS NOT NULL OR j.result IS NOT NULL
        )
    """,
    "a job that has never started can expire if it has a time to live, and no other one that is not over can": """
        SELECT j.id FROM {jobs} j
        WHERE j.status IN ('scheduled', 'queued', 'waiting')
            AND (j.ttl IS NOT NULL AND j.attempts = 0) <> (j.expires_at IS NOT NULL)
    """,
    "a job that has succeeded has been tried, and has no error; one that has failed says why": """
        SELECT j.id FROM {jobs} j
        WHERE (j.status = 'complete' AND (j.attempts = 0 OR j.error IS NOT NULL))
            OR (j.status = 'failed' AND j.error IS NULL)
            OR (j.status <> 'complete' AND j.result IS NOT NULL)
    """,
    "the attempts at a job are never more than it may have": """
        SELECT j.id FROM {jobs} j WHERE j.attempts NOT BETWEEN 0 AND j.max_attempts
    """,
    "an attempt does not end before it starts": """
        SELECT j.id FROM {jobs} j WHERE j.completed_at < j.started_at OR j.touched_at < j.started_at
        UNION ALL
        SELECT e.job_id FROM {executions} e WHERE e.completed_at < e.started_at
    """,
    "the history of a job has its attempts, from the first one to the last one that has ended": """
        SELECT j.id
        FROM {jobs} j
        LEFT JOIN {executions} e ON e.job_id = j.id
        GROUP BY j.id
        HAVING count(e.attempt) <> j.attempts - (j.status IN ('active', 'aborting'))::integer
            OR max(e.attempt) <> count(e.attempt) OR min(e.attempt) <> 1
    """,
    "all attempts but the last one have failed or were aborted": """
        SELECT e.job_id
        FROM {executions} e
        JOIN {jobs} j ON j.id = e.job_id
        WHERE e.status = 'complete' AND (e.attempt <> j.attempts OR j.status <> 'complete')
    """,
    "no two jobs of a group run at a time": """
        SELECT one.id
        FROM {jobs} one
        JOIN {jobs} other ON other.group_key = one.group_key AND other.id <> one.id
        WHERE one.status IN ('active', 'aborting') AND other.status IN ('active', 'aborting')
    """,
    "no history is left of a job that is gone": """
        SELECT e.job_id FROM {executions} e WHERE NOT EXISTS (SELECT FROM {jobs} j WHERE j.id = e.job_id)
    """,
    "no job depends on one that is gone": """
        SELECT d.child_id FROM {dependencies} d WHERE NOT EXISTS (SELECT FROM {jobs} j WHERE j.id = d.parent_id)
    """,
}
"""What is promised, and which jobs break the promise."""

DECIDABLE = """
    SELECT j.id
    FROM {jobs} j
    LEFT JOIN {dependencies} d ON d.child_id = j.id
    LEFT JOIN {jobs} p ON p.id = d.parent_id
    WHERE j.status = 'waiting'
    GROUP BY j.id
    HAVING bool_and(p.status IS NULL OR p.status IN ('complete', 'failed', 'aborted'))
        OR bool_or(
            d.parent_id IS NOT NULL AND NOT d.allow_failure AND (p.status IS NULL OR p.status IN ('failed', 'aborted'))
        )
"""
"""The jobs that wait for nothing any more. There are none, unless somebody died before they were seen to."""
