-- Claim what look.sql found: so many of the best jobs without a group from each queue, and the best job of each group
-- whose advisory lock this transaction holds, unless a job of the group is running.
-- Locks what it claims; rows that others hold are skipped. Carried by the ready indexes, the running-group index and the
-- primary key. An array, because how many rows a limit from a column lets through is guessed, as a tenth of the backlog:
-- where the statement is planned each time, which is behind a pooler, a join would read the whole table.
WITH quota AS (
    SELECT * FROM unnest(%(queues)s::text[], %(counts)s::integer[]) AS q (queue, n)
), free AS (
    SELECT g.queue, g.group_key
    FROM unnest(%(group_queues)s::text[], %(groups)s::text[]) AS g (queue, group_key)
    WHERE NOT EXISTS (
        SELECT FROM {jobs} r WHERE r.status IN ('active', 'aborting') AND r.group_key = g.group_key
    )
), picked_plain AS (
    SELECT p.id
    FROM quota q
    CROSS JOIN LATERAL (
        SELECT j.id
        FROM {jobs} j
        WHERE j.queue = q.queue AND j.status = 'queued' AND j.group_key IS NULL
            AND (j.expires_at IS NULL OR j.expires_at > statement_timestamp())
        ORDER BY j.priority DESC, j.scheduled_at, j.id
        LIMIT q.n
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS p
), picked_grouped AS (
    SELECT p.id
    FROM free f
    CROSS JOIN LATERAL (
        SELECT j.id
        FROM {jobs} j
        WHERE j.queue = f.queue AND j.status = 'queued' AND j.group_key = f.group_key
            AND (j.expires_at IS NULL OR j.expires_at > statement_timestamp())
        ORDER BY j.priority DESC, j.scheduled_at, j.id
        LIMIT 1
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS p
)
UPDATE {jobs} j
SET status = 'active', worker_id = %(worker_id)s::uuid, attempts = j.attempts + 1, started_at = statement_timestamp(),
    touched_at = statement_timestamp(), expires_at = NULL
WHERE j.id = ANY (ARRAY(SELECT id FROM picked_plain UNION ALL SELECT id FROM picked_grouped))
RETURNING {job_columns}
