-- Tell which of some jobs have not come to their end. Takes no locks; carried by the primary key.
SELECT j.id::text
FROM {jobs} j
WHERE j.id = ANY (%(ids)s::uuid[]) AND j.completed_at IS NULL
