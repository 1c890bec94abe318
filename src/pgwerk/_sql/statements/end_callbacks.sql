-- Callbacks have been called (`delay` is NULL), or are to be called again later.
-- The fence: one that somebody else has taken up since, or that belongs to a later end of the job, is left alone.
-- Locks in the order of the ids; rows that others hold are skipped, and the caller comes back for those that are still its
-- own. Carried by the primary key.
WITH input AS (
    SELECT *
    FROM unnest(%(ids)s::uuid[], %(dues)s::timestamptz[], %(delays)s::float8[], %(tries)s::integer[])
        AS i (id, due, delay, tries)
), held AS MATERIALIZED (
    SELECT j.id, i.delay, i.tries
    FROM input i
    CROSS JOIN LATERAL (
        SELECT r.id FROM {jobs} r WHERE r.id = i.id AND r.callback_due = i.due FOR NO KEY UPDATE SKIP LOCKED
    ) AS j
), ended AS (
    UPDATE {jobs} j
    SET callback = CASE WHEN h.delay IS NOT NULL THEN j.callback END,
        callback_due = statement_timestamp() + h.delay * interval '1 second',
        callback_tries = h.tries
    FROM held h
    WHERE j.id = h.id
    RETURNING
        j.id, j.status = 'failed' AND j.failure_mode = 'delete' AND j.callback_due IS NULL
            AND j.expires_at <= statement_timestamp() AS removable
)
SELECT
    i.id::text, i.due, e.id IS NOT NULL AS written, coalesce(e.removable, false) AS removable,
    EXISTS (SELECT FROM {jobs} j WHERE j.id = i.id AND j.callback_due = i.due OFFSET 0) AS was_own
FROM input i
LEFT JOIN ended e ON e.id = i.id
