-- Of attempts that a worker runs, name those that are not to go on: those that are to be aborted, and those that are not the
-- worker's any more, because the job was rescued by another one, or deleted.
-- Takes no locks; carried by the primary key, which the sub-select sees to: by the running index, every job that the worker
-- ever ran would be visited while an old snapshot is held.
SELECT i.id::text, i.attempt, coalesce(j.is_own, false) AS aborting
FROM unnest(%(ids)s::uuid[], %(attempts)s::integer[]) AS i (id, attempt)
LEFT JOIN LATERAL (
    SELECT
        r.worker_id = %(worker_id)s::uuid AND r.attempts = i.attempt AND r.completed_at IS NULL AS is_own,
        r.status = 'aborting' AS is_unwanted
    FROM {jobs} r
    WHERE r.id = i.id
    OFFSET 0
) AS j ON true
WHERE j.is_own IS NOT TRUE OR j.is_unwanted
