-- Read jobs by id. Takes no locks; carried by the primary key.
SELECT {job_columns}
FROM {jobs} j
WHERE j.id = ANY (%(ids)s::uuid[])
