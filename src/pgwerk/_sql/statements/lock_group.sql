-- Try to take the advisory lock of a group, for as long as this transaction lasts: claim_best.sql takes the same.
-- The claim (claim_job.sql) has to be the next statement: its snapshot is younger than the lock, so it sees every claim of
-- the group that came before. Waits for nobody.
SELECT pg_try_advisory_xact_lock({lock_space}, hashtext(%(group_key)s::text)) AS locked
