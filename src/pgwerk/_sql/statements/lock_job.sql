-- Lock a job that somebody wants to change, and read its status. Waits for whoever holds it: a claim or a settlement, which
-- is a matter of milliseconds. Carried by the primary key.
SELECT j.status
FROM {jobs} j
WHERE j.id = %(id)s::uuid
FOR NO KEY UPDATE
