-- Of attempts that settle.sql did not end, name those that could still be: their rows were locked by somebody else. The
-- others have been ended by somebody else, or their jobs deleted. Takes no locks; carried by the primary key.
SELECT j.id::text, i.attempt
FROM unnest(%(id)s::uuid[], %(worker_id)s::uuid[], %(attempt)s::integer[]) AS i (id, worker_id, attempt)
JOIN {jobs} j ON j.id = i.id
WHERE j.worker_id = i.worker_id AND j.attempts = i.attempt AND j.completed_at IS NULL
