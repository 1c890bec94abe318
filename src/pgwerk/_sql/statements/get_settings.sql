-- What was fixed when the tables were created. Takes no locks.
SELECT ephemeral_tables FROM {migrations} ORDER BY version LIMIT 1
