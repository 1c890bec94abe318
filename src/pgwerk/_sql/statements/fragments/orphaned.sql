-- Running jobs that nobody looks after any more, and which of the reasons each has. Takes no locks; carried by the running
-- index.
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
