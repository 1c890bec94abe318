-- Let jobs go that have waited for others: they are ready, or scheduled if their time has not come. Looks once more for a
-- parent that has not ended: one may have been requeued since the verdict, and its child with it.
-- Locks in the order of the ids; rows that others hold are skipped, and the caller comes back for them. Carried by the
-- primary key.
WITH held AS (
    SELECT j.id
    FROM {jobs} j
    WHERE j.id = ANY (%(ids)s::uuid[]) AND j.status = 'waiting' AND NOT EXISTS (
        SELECT
        FROM {dependencies} d
        CROSS JOIN LATERAL (SELECT FROM {jobs} p WHERE p.id = d.parent_id AND p.completed_at IS NULL OFFSET 0) AS parent
        WHERE d.child_id = j.id
        OFFSET 0
    )
    ORDER BY j.id
    FOR NO KEY UPDATE SKIP LOCKED
), released AS (
    UPDATE {jobs} j
    SET status = CASE WHEN j.scheduled_at > statement_timestamp() THEN 'scheduled' ELSE 'queued' END
    FROM held
    WHERE j.id = held.id
    RETURNING j.id, j.queue, j.status, j.scheduled_at
), announced AS (
    SELECT pg_notify({ready_channel}, 'q' || ready.queue) AS done
    FROM (SELECT DISTINCT queue FROM released WHERE status = 'queued') AS ready
    UNION ALL
    SELECT pg_notify({ready_channel}, 'd' || extract(epoch FROM first.due)) AS done
    FROM (SELECT min(scheduled_at) AS due FROM released WHERE status = 'scheduled') AS first
    WHERE first.due < coalesce((SELECT min(scheduled_at) FROM {jobs} WHERE status = 'scheduled'), 'infinity')
)
SELECT id::text, status, (SELECT count(done) FROM announced) AS announced
FROM released
