-- Wait for a lock for so long at most, in this transaction.
SET LOCAL lock_timeout = '10s'
