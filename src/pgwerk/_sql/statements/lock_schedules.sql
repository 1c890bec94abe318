-- Lock schedules before they are changed, and tell the time, which is what the next run is counted from. There is a row for
-- each name, with nothing but the time in it when there is no such schedule.
-- Locks the rows in the order of their names, which the primary key carries, and waits for whoever holds one: a scheduler
-- for the milliseconds of a tick, or somebody who does the same as this.
WITH locked AS MATERIALIZED (
    SELECT s.*
    FROM {schedules} s
    WHERE s.name = ANY (%(names)s::text[])
    ORDER BY s.name
    FOR NO KEY UPDATE
)
SELECT statement_timestamp(), {schedule_columns}, {schedule_facts}
FROM unnest(%(names)s::text[]) AS wanted (name)
LEFT JOIN locked s ON s.name = wanted.name
