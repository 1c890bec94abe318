-- Count running jobs that nobody looks after any more, by the same rules as lock_orphans.sql, and by how long ago the
-- last lease that could have covered them ran out. Takes no locks; carried by the running index.
SELECT count(*), coalesce(max(extract(epoch FROM statement_timestamp() - covered.until)), 0)::float8
FROM {jobs} j
LEFT JOIN {workers} w ON w.id = j.worker_id
CROSS JOIN LATERAL (
    SELECT coalesce(
        w.heartbeat_at + w.lease_secs * interval '1 second', j.started_at + %(lease_secs)s * interval '1 second'
    ) AS until
) AS covered
WHERE j.status IN ('active', 'aborting') AND covered.until < statement_timestamp()
