-- Lock running jobs that nobody looks after any more, and say why each is taken for an orphan:
--   - its worker's lease has run out, or its worker is unknown and the job was started more than a lease ago;
--   - its own heartbeat deadline has passed;
--   - nothing was heard of it, its worker's heartbeats included, for longer than a job may be silent.
-- Leases do not count until the server has been up for one: after an outage, everybody's have run out.
-- Locks in the order of the ids and skips rows that others hold: those are being settled. Carried by the running index.
SELECT {job_columns}, CASE
        WHEN lost.lease THEN 'its worker was lost'
        WHEN lost.heartbeat THEN 'its heartbeat stopped'
        ELSE 'nothing was heard of it'
    END AS reason
FROM {jobs} j
LEFT JOIN {workers} w ON w.id = j.worker_id
CROSS JOIN LATERAL (
    SELECT
        coalesce(
            w.heartbeat_at + w.lease_secs * interval '1 second', j.started_at + %(lease_secs)s * interval '1 second'
        ) < statement_timestamp()
            AND pg_postmaster_start_time()
                < statement_timestamp() - coalesce(w.lease_secs, %(lease_secs)s) * interval '1 second' AS lease,
        j.touched_at + j.heartbeat_secs * interval '1 second' < statement_timestamp() AS heartbeat,
        greatest(j.started_at, j.touched_at, w.heartbeat_at) + %(max_active_secs)s * interval '1 second'
            < statement_timestamp() AS silence
) AS lost
WHERE j.status IN ('active', 'aborting') AND (lost.lease OR lost.heartbeat OR lost.silence)
ORDER BY j.id
LIMIT %(limit)s
FOR NO KEY UPDATE OF j SKIP LOCKED
