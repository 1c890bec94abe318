-- End jobs whose time to live was over before they started. Locks in the order of the expiry index, which carries it;
-- rows that others hold are skipped: those are being claimed. Awaited ones are notified.
WITH late AS (
    SELECT j.id
    FROM {jobs} j
    WHERE j.expires_at <= statement_timestamp() AND j.status IN ('scheduled', 'queued', 'waiting')
    ORDER BY j.expires_at
    LIMIT %(limit)s
    FOR NO KEY UPDATE SKIP LOCKED
), expired AS (
    UPDATE {jobs} j
    SET status = 'aborted', completed_at = statement_timestamp(),
        error = format('expired: the job did not start within its ttl of %%s s', j.ttl),
        expires_at = statement_timestamp() + (
            j.failure_ttl + CASE WHEN j.awaited THEN greatest({awaited_secs} - j.failure_ttl, 0) ELSE 0 END
        ) * interval '1 second'
    FROM late
    WHERE j.id = late.id
    RETURNING j.id, j.awaited
), announced AS (
    SELECT pg_notify({done_channel}, string_agg(batch.id::text, ',')) AS done
    FROM (SELECT e.id, (row_number() OVER () - 1) / 200 AS number FROM expired e WHERE e.awaited) AS batch
    GROUP BY batch.number
)
SELECT count(*) AS expired, (SELECT count(done) FROM announced) AS announced
FROM expired
