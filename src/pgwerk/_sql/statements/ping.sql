-- Make sure that the server answers. Takes no locks.
SELECT
