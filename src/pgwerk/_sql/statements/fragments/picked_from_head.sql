-- The same as picked_ungrouped.sql, starting where the last claim ended: behind the last job that was claimed of each
-- priority (claiming.py says why), and with whatever has a higher one. Carried by the ready index. Each part is locked as
-- it is read, and no more of it is read than what the limit leaves.
picked AS (
    SELECT best.id
    FROM (
        SELECT higher.id
        FROM (
            SELECT j.id
            FROM {jobs} j
            WHERE j.queue = %(queue)s AND j.status = 'queued' AND j.group_key IS NULL
                AND j.priority > (%(priorities)s::integer[])[1]
                AND (j.expires_at IS NULL OR j.expires_at > statement_timestamp())
            ORDER BY j.priority DESC, j.scheduled_at, j.id
            LIMIT %(limit)s
            FOR NO KEY UPDATE SKIP LOCKED
        ) AS higher
        UNION ALL
        SELECT behind.id
        FROM unnest(%(priorities)s::integer[], %(times)s::timestamptz[], %(last_ids)s::uuid[])
            AS head (priority, scheduled_at, id)
        CROSS JOIN LATERAL (
            SELECT j.id
            FROM {jobs} j
            WHERE j.queue = %(queue)s AND j.status = 'queued' AND j.group_key IS NULL
                AND j.priority = head.priority AND (j.scheduled_at, j.id) > (head.scheduled_at, head.id)
                AND (j.expires_at IS NULL OR j.expires_at > statement_timestamp())
            ORDER BY j.scheduled_at, j.id
            LIMIT %(limit)s
            FOR NO KEY UPDATE SKIP LOCKED
        ) AS behind
    ) AS best
    LIMIT %(limit)s
)
