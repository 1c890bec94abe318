-- Claim one job that this transaction has inserted or settled, so that nobody else can get at it, unless a job of its
-- group is running. Before the first attempt at a job with a group, lock_group.sql has taken the lock of the group;
-- between two attempts it is the job itself that keeps the others out, because they see it run until this has committed.
-- Locks the job, which this transaction has locked already. Carried by the primary key and the running-group index.
UPDATE {jobs} j
SET status = 'active', worker_id = %(worker_id)s::uuid, attempts = j.attempts + 1, started_at = statement_timestamp(),
    touched_at = statement_timestamp(), expires_at = NULL
WHERE j.id = %(id)s::uuid AND j.status = 'waiting' AND NOT EXISTS (
    SELECT
    FROM {jobs} r
    WHERE r.status IN ('active', 'aborting') AND r.group_key = j.group_key AND r.id <> j.id
)
RETURNING {job_columns}
