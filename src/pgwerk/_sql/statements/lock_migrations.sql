-- Let one transaction at a time migrate, and let no migration wait for a lock for long. Ends with the transaction.
SET LOCAL lock_timeout = '2s';
SELECT pg_advisory_xact_lock({lock_space}, 0)
