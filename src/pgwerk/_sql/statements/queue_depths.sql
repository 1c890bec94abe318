-- Count the jobs of each queue that have not ended, and tell for how many seconds the oldest ready one could have been
-- claimed. Takes no locks. One scan for each state, over its partial index, so that finished rows cost nothing; ready
-- jobs are counted in the index alone where the table is vacuumed.
SELECT
    live.queue,
    sum(live.jobs) FILTER (WHERE live.state = 'queued')::bigint,
    sum(live.jobs) FILTER (WHERE live.state = 'scheduled')::bigint,
    sum(live.jobs) FILTER (WHERE live.state = 'waiting')::bigint,
    sum(live.jobs) FILTER (WHERE live.state = 'active')::bigint,
    extract(epoch FROM greatest(statement_timestamp(), min(live.since)) - min(live.since))::float8
FROM (
    SELECT j.queue, 'queued' AS state, count(*) AS jobs, min(j.scheduled_at) AS since
    FROM {jobs} j
    WHERE j.status = 'queued' AND j.group_key IS NULL
    GROUP BY j.queue
    UNION ALL
    SELECT j.queue, 'queued', count(*), min(j.scheduled_at)
    FROM {jobs} j
    WHERE j.status = 'queued' AND j.group_key IS NOT NULL
    GROUP BY j.queue
    UNION ALL
    SELECT j.queue, 'scheduled', count(*), NULL
    FROM {jobs} j
    WHERE j.status = 'scheduled'
    GROUP BY j.queue
    UNION ALL
    SELECT j.queue, 'waiting', count(*), NULL
    FROM {jobs} j
    WHERE j.status = 'waiting'
    GROUP BY j.queue
    UNION ALL
    SELECT j.queue, 'active', count(*), NULL
    FROM {jobs} j
    WHERE j.status IN ('active', 'aborting')
    GROUP BY j.queue
) AS live
GROUP BY live.queue
ORDER BY live.queue
