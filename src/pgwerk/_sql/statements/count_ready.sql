-- Whether anything in these queues could run, now or once a running job of its group has ended. Takes no locks, so that
-- jobs which another claim holds just now count. Carried by the ready indexes, of which it reads one entry per queue;
-- written with limits, because EXISTS may be planned as a hash of the whole backlog while the statistics are old.
SELECT count(*)
FROM unnest(%(queues)s::text[]) AS q (queue)
CROSS JOIN LATERAL (
    (
        SELECT
        FROM {jobs} j
        WHERE j.queue = q.queue AND j.status = 'queued' AND j.group_key IS NULL
            AND (j.expires_at IS NULL OR j.expires_at > statement_timestamp())
        LIMIT 1
    )
    UNION ALL
    (
        SELECT
        FROM {jobs} j
        WHERE j.queue = q.queue AND j.status = 'queued' AND j.group_key IS NOT NULL
            AND (j.expires_at IS NULL OR j.expires_at > statement_timestamp())
        LIMIT 1
    )
) AS ready
