-- The database's own clock, at this moment. Takes no locks.
SELECT clock_timestamp()
