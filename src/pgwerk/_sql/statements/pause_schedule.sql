-- Pause a schedule or let it go on, and say when it is due next. Runs in the transaction that has locked the row; carried by
-- the primary key.
UPDATE {schedules} s
SET paused = %(paused)s, next_run_at = %(next_run_at)s
WHERE s.name = %(name)s
