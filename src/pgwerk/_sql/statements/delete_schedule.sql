-- Delete a schedule; its jobs stay. Waits for whoever holds the row, a scheduler for instance, for the milliseconds of a tick.
-- Carried by the primary key.
DELETE FROM {schedules} s
WHERE s.name = %(name)s
RETURNING s.name
