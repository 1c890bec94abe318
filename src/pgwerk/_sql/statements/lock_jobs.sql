-- Lock jobs in the order of their ids. Waits for whoever holds them. Carried by the primary key.
SELECT j.id::text
FROM {jobs} j
WHERE j.id = ANY (%(ids)s::uuid[])
ORDER BY j.id
FOR NO KEY UPDATE
