-- Read the schedules by their names, or all of them. Takes no locks; the table is small and read as a whole.
SELECT {schedule_columns}, {schedule_facts}
FROM {schedules} s
WHERE %(names)s::text[] IS NULL OR s.name = ANY (%(names)s)
ORDER BY s.name
