-- The callback of a job has been called by whoever ended the job, and within the time that was set aside for that.
-- The fence: when a worker has taken it up, or the job has ended once more, nothing is changed. Waits for whoever holds the
-- row, which is not for long. Carried by the primary key. Returns whether the row is not to be kept.
UPDATE {jobs} j
SET callback = NULL, callback_due = NULL
WHERE j.id = %(id)s::uuid AND j.completed_at = %(completed_at)s::timestamptz AND j.callback IS NOT NULL
    AND j.callback_tries = 0
RETURNING j.status = 'failed' AND j.failure_mode = 'delete' AND j.expires_at <= statement_timestamp() AS removable
