-- Lock the schedules whose time has come, some at a time, and tell the time.
-- Locks the rows in the order of their names. Rows that others hold are skipped: another scheduler has them in its hands, or
-- somebody changes them at this moment. So of two schedulers that run this at once, one gets a tick, and the other one finds
-- the row advanced when it comes back. Carried by the primary key.
SELECT statement_timestamp(), {schedule_columns}, {schedule_facts}
FROM {schedules} s
WHERE s.name = ANY (%(names)s::text[]) AND NOT s.paused AND s.next_run_at <= statement_timestamp()
ORDER BY s.name
LIMIT %(limit)s
FOR NO KEY UPDATE SKIP LOCKED
