-- Tell in how many seconds the next of some schedules is due; NULL if none is going to be. Takes no locks; the table is small.
SELECT extract(epoch FROM min(s.next_run_at) - clock_timestamp())::float8
FROM {schedules} s
WHERE s.name = ANY (%(names)s::text[]) AND NOT s.paused
