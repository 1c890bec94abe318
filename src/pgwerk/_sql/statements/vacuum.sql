-- Vacuum the tables and gather their statistics. Not in a transaction. Does not wait for those who read and write, nor they
-- for it.
VACUUM (ANALYZE) {jobs}, {executions}, {dependencies}, {workers}, {schedules}, {migrations}
