-- Of jobs that were not cancelled because somebody held them, tell those that still can be. Takes no locks; carried by the
-- primary key.
SELECT j.id::text
FROM {jobs} j
WHERE j.id = ANY (%(ids)s::uuid[]) AND j.status IN ('scheduled', 'queued', 'waiting')
