-- Lock a job that somebody wants to delete, and read what its children are going to be told. Waits for whoever holds it,
-- transactions that are inserting a child of it included. Carried by the primary key.
SELECT j.status, j.function
FROM {jobs} j
WHERE j.id = %(id)s::uuid
FOR UPDATE
