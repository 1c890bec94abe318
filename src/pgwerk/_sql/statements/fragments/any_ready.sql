-- How many of the ready indexes have an entry for one of these queues. Takes no locks.
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
