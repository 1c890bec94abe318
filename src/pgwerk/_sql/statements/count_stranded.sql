-- Count jobs that wait for others although none of these is left to wait for, and nothing has changed for `secs` seconds:
-- a sweep would have seen to them. Takes no locks. Walks the waiting index, up to a bound, and looks up parents by key.
SELECT count(*) FILTER (WHERE NOT bound.has_cause), count(*) >= %(limit)s
FROM (
    SELECT EXISTS (
        SELECT
        FROM {dependencies} d
        JOIN {jobs} p ON p.id = d.parent_id
        WHERE d.child_id = j.id AND (
            p.completed_at IS NULL OR p.completed_at > statement_timestamp() - %(secs)s * interval '1 second'
        )
    ) AS has_cause
    FROM {jobs} j
    WHERE j.status = 'waiting' AND j.enqueued_at < statement_timestamp() - %(secs)s * interval '1 second'
    ORDER BY j.id
    LIMIT %(limit)s
) AS bound
