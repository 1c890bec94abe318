-- Lock jobs that are to be deleted, those with one of these statuses or (NULL) whatever it is. From here on nobody can
-- insert a child of theirs.
-- Locks in the order of the ids; rows that others hold are skipped: those are seen to one by one. Carried by the primary
-- key.
SELECT j.id::text
FROM {jobs} j
WHERE j.id = ANY (%(ids)s::uuid[]) AND (%(statuses)s::text[] IS NULL OR j.status = ANY (%(statuses)s))
ORDER BY j.id
FOR UPDATE SKIP LOCKED
