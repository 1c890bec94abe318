-- End jobs that have not started: the one statement for those that are cancelled, have expired, or cannot start because of
-- a job that they depend on.
-- Locks in the order of the ids; rows that others hold are skipped, and the caller comes back for them. What has been
-- claimed meanwhile is left alone. Carried by the primary key. Awaited jobs are notified, and so are workers that have
-- callbacks to call.
WITH held AS MATERIALIZED (
    SELECT
        j.id, i.error,
        CASE WHEN %(status)s = 'failed' AND j.failure_mode = 'delete' THEN 0 ELSE j.failure_ttl END AS kept_secs,
        CASE
            WHEN %(status)s = 'failed' THEN CASE WHEN j.on_failure IS NOT NULL THEN 'on_failure' END
            WHEN j.on_stopped IS NOT NULL THEN 'on_stopped'
        END AS callback
    FROM unnest(%(ids)s::uuid[], %(errors)s::text[]) AS i (id, error)
    CROSS JOIN LATERAL (
        SELECT r.id, r.failure_mode, r.failure_ttl, r.on_failure, r.on_stopped
        FROM {jobs} r
        WHERE r.id = i.id AND r.status IN ('scheduled', 'queued', 'waiting')
            AND (NOT %(expired)s OR r.expires_at <= statement_timestamp())
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS j
), ended AS (
    UPDATE {jobs} j
    SET status = %(status)s, error = h.error, completed_at = statement_timestamp(),
        expires_at = statement_timestamp() + (
            h.kept_secs + CASE WHEN j.awaited THEN greatest({awaited_secs} - h.kept_secs, 0) ELSE 0 END
        ) * interval '1 second',
        callback = coalesce(h.callback, j.callback),
        callback_due = CASE WHEN h.callback IS NULL THEN j.callback_due ELSE statement_timestamp() END,
        callback_tries = CASE WHEN h.callback IS NULL THEN j.callback_tries ELSE 0 END
    FROM held h
    WHERE j.id = h.id
    RETURNING
        j.id, j.queue, j.awaited, j.callback_due IS NOT NULL AS owing,
        j.status = 'failed' AND j.failure_mode = 'delete' AND NOT j.awaited AND j.callback_due IS NULL AS removable
), announced AS (
    SELECT pg_notify({done_channel}, string_agg(batch.id::text, ',')) AS done
    FROM (SELECT e.id, (row_number() OVER () - 1) / 200 AS number FROM ended e WHERE e.awaited) AS batch
    GROUP BY batch.number
    UNION ALL
    SELECT pg_notify({ready_channel}, 'c' || q.queue) AS done
    FROM (SELECT DISTINCT queue FROM ended WHERE owing) AS q
)
SELECT id::text, removable, (SELECT count(done) FROM announced) AS announced
FROM ended
