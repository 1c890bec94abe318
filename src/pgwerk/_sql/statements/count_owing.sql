-- Count jobs whose callback could have been called `secs` seconds ago, up to a bound, and tell for how long the first one
-- has been owed. Takes no locks; carried by the index of callbacks, which has an entry for each one that is owed.
SELECT count(*), coalesce(max(extract(epoch FROM statement_timestamp() - owed.callback_due)), 0)::float8
FROM (
    SELECT j.callback_due
    FROM {jobs} j
    WHERE j.callback_due < statement_timestamp() - %(secs)s * interval '1 second'
    LIMIT %(limit)s
) AS owed
