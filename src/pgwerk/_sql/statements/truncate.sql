-- Delete everything but the record of the migrations. Locks the tables against all use until the transaction ends.
TRUNCATE {jobs}, {executions}, {dependencies}, {workers}, {schedules}
