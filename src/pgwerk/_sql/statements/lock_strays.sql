-- Lock jobs that are claimed for a worker which does not know of them, because the answer to the claim was lost with the
-- connection. Locks in the order of the ids, skips rows that others hold. Carried by the running index.
SELECT {job_columns}
FROM {jobs} j
WHERE j.worker_id = %(worker_id)s::uuid AND j.status IN ('active', 'aborting')
    AND NOT EXISTS (
        SELECT
        FROM unnest(%(ids)s::uuid[], %(attempts)s::integer[]) AS known (id, attempt)
        WHERE known.id = j.id AND known.attempt = j.attempts
    )
ORDER BY j.id
FOR NO KEY UPDATE SKIP LOCKED
