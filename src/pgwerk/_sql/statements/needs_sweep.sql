-- Whether a sweep would find anything: running jobs that may be orphans, scheduled ones that are due, jobs that wait for
-- others (only a sweep can tell whether in vain), time to live or time to be kept that is over, or workers that have not
-- been heard of for a day, or for a lease and are still notified. Takes no locks. Carried by the running, due, waiting and
-- expiry indexes; the table of workers is small. Written with limits, because EXISTS may be planned as a walk over
-- everything while the statistics are old.
SELECT
    (SELECT count(*) FROM (SELECT {orphaned} LIMIT 1) AS orphan)
    + (
        SELECT count(*)
        FROM (
            SELECT FROM {jobs} j WHERE j.status = 'scheduled' AND j.scheduled_at <= statement_timestamp() LIMIT 1
        ) AS due
    )
    + (SELECT count(*) FROM (SELECT FROM {jobs} j WHERE j.status = 'waiting' LIMIT 1) AS waiting)
    + (
        SELECT count(*)
        FROM (
            SELECT
            FROM {jobs} j
            WHERE j.expires_at <= statement_timestamp() AND (
                j.status IN ('scheduled', 'queued', 'waiting')
                OR (j.completed_at IS NOT NULL AND j.callback_due IS NULL)
            )
            LIMIT 1
        ) AS expired
    )
    + (
        SELECT count(*)
        FROM (
            SELECT
            FROM {workers} w
            WHERE w.heartbeat_at < statement_timestamp() - interval '1 day'
                OR (w.wants_news AND w.heartbeat_at < statement_timestamp() - w.lease_secs * interval '1 second')
            LIMIT 1
        ) AS lost
    ) > 0
