-- The best jobs of several queues, with groups or without, locked. `best` are those of the statement's snapshot, looked at
-- without locks: one index scan for each queue, then a merge; with `queue = ANY (...)` the whole backlog would be sorted.
-- Of jobs with a group, those at the head are looked at, up to a bound. When that leaves places unfilled, because the
-- head belongs to few groups or blocked ones, the other groups are visited one by one, from where the last visit of the
-- queue ended (`after`).
-- Which jobs are the best over all queues is the strategy's affair: the order of `best` is all that differs. Where
-- queues take turns, they do so in the order in which they are given.
-- Of jobs without a group, as many are locked in each queue as it has among the best: any of them will do. Of a group, it
-- is the best job that is locked, or none, if the advisory lock of the group can be had.
lanes AS (
    SELECT q.queue, q.after, q.place
    FROM unnest(%(queues)s::text[], %(after)s::text[]) WITH ORDINALITY AS q (queue, after, place)
), plain AS (
    SELECT l.queue, NULL::text AS group_key, best.priority, best.scheduled_at, best.id
    FROM lanes l
    CROSS JOIN LATERAL (
        SELECT j.priority, j.scheduled_at, j.id
        FROM {jobs} j
        WHERE j.queue = l.queue AND j.status = 'queued' AND j.group_key IS NULL
            AND (j.expires_at IS NULL OR j.expires_at > statement_timestamp())
        ORDER BY j.priority DESC, j.scheduled_at, j.id
        LIMIT %(limit)s
    ) AS best
), head AS MATERIALIZED (
    SELECT l.queue, best.*
    FROM lanes l
    CROSS JOIN LATERAL (
        SELECT j.group_key, j.priority, j.scheduled_at, j.id
        FROM {jobs} j
        WHERE j.queue = l.queue AND j.status = 'queued' AND j.group_key IS NOT NULL
            AND (j.expires_at IS NULL OR j.expires_at > statement_timestamp())
        ORDER BY j.priority DESC, j.scheduled_at, j.id
        LIMIT %(head)s
    ) AS best
), free_head AS MATERIALIZED (
    SELECT h.*
    FROM head h
    WHERE NOT EXISTS (
        SELECT FROM {jobs} r WHERE r.status IN ('active', 'aborting') AND r.group_key = h.group_key
    )
), short AS (
    SELECT h.queue, l.after
    FROM head h
    JOIN lanes l ON l.queue = h.queue
    GROUP BY h.queue, l.after
    HAVING count(*) >= %(head)s AND (
        SELECT count(DISTINCT f.group_key) FROM free_head f WHERE f.queue = h.queue
    ) < %(limit)s
), visited AS (
    SELECT s.queue, first.group_key, 1 AS step
    FROM short s
    CROSS JOIN LATERAL (
        SELECT j.group_key
        FROM {jobs} j
        WHERE j.queue = s.queue AND j.status = 'queued' AND j.group_key IS NOT NULL AND j.group_key > s.after
        ORDER BY j.group_key
        LIMIT 1
    ) AS first
    UNION ALL
    SELECT v.queue, next.group_key, v.step + 1
    FROM visited v
    CROSS JOIN LATERAL (
        SELECT j.group_key
        FROM {jobs} j
        WHERE j.queue = v.queue AND j.status = 'queued' AND j.group_key IS NOT NULL AND j.group_key > v.group_key
        ORDER BY j.group_key
        LIMIT 1
    ) AS next
    WHERE v.step < %(head)s
), beyond AS (
    SELECT v.queue, v.group_key, best.priority, best.scheduled_at, best.id
    FROM visited v
    CROSS JOIN LATERAL (
        SELECT j.priority, j.scheduled_at, j.id
        FROM {jobs} j
        WHERE j.queue = v.queue AND j.status = 'queued' AND j.group_key = v.group_key
            AND (j.expires_at IS NULL OR j.expires_at > statement_timestamp())
        ORDER BY j.priority DESC, j.scheduled_at, j.id
        LIMIT 1
    ) AS best
    WHERE NOT EXISTS (
        SELECT FROM {jobs} r WHERE r.status IN ('active', 'aborting') AND r.group_key = v.group_key
    )
), grouped AS (
    SELECT DISTINCT ON (candidate.group_key) candidate.*
    FROM (SELECT * FROM free_head UNION ALL SELECT queue, group_key, priority, scheduled_at, id FROM beyond) AS candidate
    ORDER BY candidate.group_key, candidate.priority DESC, candidate.scheduled_at, candidate.id
), best AS MATERIALIZED (
    SELECT merged.*
    FROM (SELECT * FROM plain UNION ALL SELECT queue, group_key, priority, scheduled_at, id FROM grouped) AS merged
    ORDER BY {best_first}
    LIMIT %(limit)s
), tried AS MATERIALIZED (
    SELECT
        b.queue, b.id, b.group_key,
        CASE WHEN b.group_key IS NOT NULL THEN pg_try_advisory_xact_lock({lock_space}, hashtext(b.group_key)) END AS locked
    FROM best b
), quota AS (
    SELECT t.queue, count(*) AS n FROM tried t WHERE t.group_key IS NULL GROUP BY t.queue
), picked AS (
    SELECT plain.id
    FROM quota q
    CROSS JOIN LATERAL (
        SELECT j.id
        FROM {jobs} j
        WHERE j.queue = q.queue AND j.status = 'queued' AND j.group_key IS NULL
            AND (j.expires_at IS NULL OR j.expires_at > statement_timestamp())
        ORDER BY j.priority DESC, j.scheduled_at, j.id
        LIMIT q.n
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS plain
    UNION ALL
    SELECT grouped.id
    FROM tried t
    CROSS JOIN LATERAL (
        SELECT j.id
        FROM {jobs} j
        WHERE j.id = t.id AND j.status = 'queued'
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS grouped
    WHERE t.locked
)
