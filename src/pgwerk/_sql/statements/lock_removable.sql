-- Lock finished jobs that are to be deleted, and check once more that they are: one that was requeued meanwhile is not.
-- From here on nobody can insert a child of theirs. Jobs whose callback is owed stay.
-- Locks in the order of the ids; rows that others hold are skipped: those are parents of a job whose transaction is open,
-- or somebody else deletes them. Carried by the primary key.
SELECT j.id::text
FROM {jobs} j
WHERE j.id = ANY (%(ids)s::uuid[]) AND j.completed_at IS NOT NULL AND j.callback_due IS NULL
    AND (%(statuses)s::text[] IS NULL OR j.status = ANY (%(statuses)s))
    AND (%(days)s::float8 IS NULL OR j.completed_at <= statement_timestamp() - %(days)s * interval '1 day')
    AND (NOT %(expired)s OR j.expires_at <= statement_timestamp())
ORDER BY j.id
FOR UPDATE SKIP LOCKED
