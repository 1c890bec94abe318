-- Sum up the attempts of each queue that have ended within the last `secs` seconds: how many there were, how they ended,
-- percentiles of how long they waited and ran, and how many ended in each of `slices` equal parts of that time.
-- Takes no locks. The history is read by the time of its end over a BRIN index, so that what is older costs nothing; each
-- attempt's job is found by its primary key, or all of them in one scan of the jobs where the window is large.
-- A job could have run at its time, when the last job that it depends on had ended, and when its last attempt had: the
-- latest of these. Its time is that of its last attempt, so only that one's wait is known. Scalar subqueries, because
-- joins would be planned as scans of the whole history.
WITH ended AS MATERIALIZED (
    SELECT
        j.queue, e.status,
        j.attempts > e.attempt OR j.completed_at IS NULL AS tried_again,
        CASE WHEN e.attempt = j.attempts AND j.completed_at IS NOT NULL THEN extract(epoch FROM
            e.started_at - least(e.started_at, greatest(
                j.scheduled_at,
                (
                    SELECT max(p.completed_at)
                    FROM {dependencies} d
                    JOIN {jobs} p ON p.id = d.parent_id
                    WHERE d.child_id = e.job_id
                ),
                CASE WHEN e.attempt > 1 THEN (
                    SELECT p.completed_at FROM {executions} p WHERE p.job_id = e.job_id AND p.attempt = e.attempt - 1
                ) END
            ))
        )::float8 END AS waited,
        extract(epoch FROM greatest(e.completed_at, e.started_at) - e.started_at)::float8 AS ran,
        least(floor(
            (1 - extract(epoch FROM statement_timestamp() - e.completed_at) / %(secs)s::float8) * %(slices)s::integer
        )::integer, %(slices)s::integer - 1) AS slice
    FROM {executions} e
    JOIN {jobs} j ON j.id = e.job_id
    WHERE e.completed_at > statement_timestamp() - %(secs)s::float8 * interval '1 second'
), sliced AS (
    SELECT counted.queue, array_agg(counted.slice) AS slices, array_agg(counted.attempts) AS counts
    FROM (SELECT queue, slice, count(*) AS attempts FROM ended GROUP BY queue, slice) AS counted
    GROUP BY counted.queue
)
SELECT
    e.queue,
    count(*) FILTER (WHERE e.status = 'complete'),
    count(*) FILTER (WHERE e.status = 'failed'),
    count(*) FILTER (WHERE e.status = 'aborted'),
    count(*) FILTER (WHERE e.status = 'failed' AND e.tried_again),
    percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY e.waited),
    percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY e.ran),
    (SELECT s.slices FROM sliced s WHERE s.queue = e.queue),
    (SELECT s.counts FROM sliced s WHERE s.queue = e.queue)
FROM ended e
GROUP BY e.queue
ORDER BY e.queue
