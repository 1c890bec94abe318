-- The version of the tables. Takes no locks.
SELECT coalesce(max(version), 0) FROM {migrations}
