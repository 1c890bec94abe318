-- Count scheduled jobs whose time came at least `secs` seconds ago, up to a bound, and tell how long ago the first one's
-- was. Takes no locks; carried by the index of due jobs.
SELECT count(*), coalesce(max(extract(epoch FROM statement_timestamp() - late.scheduled_at)), 0)::float8
FROM (
    SELECT j.scheduled_at
    FROM {jobs} j
    WHERE j.status = 'scheduled' AND j.scheduled_at < statement_timestamp() - %(secs)s * interval '1 second'
    ORDER BY j.scheduled_at
    LIMIT %(limit)s
) AS late
