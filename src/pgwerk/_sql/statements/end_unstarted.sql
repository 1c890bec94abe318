-- End jobs that have not started: the one statement for those that are cancelled, have expired, or cannot start because of
-- a job that they depend on.
-- Locks in the order of the ids; rows that others hold are skipped, and the caller comes back for them. What has been
-- claimed meanwhile is left alone. Carried by the primary key. Awaited jobs are notified.
WITH held AS MATERIALIZED (
    SELECT
        j.id, i.error,
        CASE WHEN %(status)s = 'failed' AND j.failure_mode = 'delete' THEN 0 ELSE j.failure_ttl END AS kept_secs
    FROM unnest(%(ids)s::uuid[], %(errors)s::text[]) AS i (id, error)
    CROSS JOIN LATERAL (
        SELECT r.id, r.failure_mode, r.failure_ttl
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
        ) * interval '1 second'
    FROM held h
    WHERE j.id = h.id
    RETURNING j.id, j.awaited, j.status = 'failed' AND j.failure_mode = 'delete' AND NOT j.awaited AS removable
), announced AS (
    SELECT pg_notify({done_channel}, string_agg(batch.id::text, ',')) AS done
    FROM (SELECT e.id, (row_number() OVER () - 1) / 200 AS number FROM ended e WHERE e.awaited) AS batch
    GROUP BY batch.number
)
SELECT id::text, removable, (SELECT count(done) FROM announced) AS announced
FROM ended
