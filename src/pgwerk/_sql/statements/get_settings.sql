-- What was fixed when the tables were created, and how this session reads arrays. Takes no locks.
SELECT ephemeral_tables, current_setting('array_nulls')::boolean FROM {migrations} ORDER BY version LIMIT 1
