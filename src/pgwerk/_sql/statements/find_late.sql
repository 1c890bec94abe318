-- Find jobs whose time to live was over before they started, from a place in their order on. Takes no locks; carried by the
-- expiry index.
SELECT j.id::text, j.expires_at, j.ttl
FROM {jobs} j
WHERE j.expires_at <= statement_timestamp() AND j.status IN ('scheduled', 'queued', 'waiting')
    AND j.expires_at >= %(time)s::timestamptz AND (j.expires_at, j.id) > (%(time)s::timestamptz, %(id)s::uuid)
ORDER BY j.expires_at, j.id
LIMIT %(limit)s
