-- Insert jobs, with their dependencies and their notifications: one statement, so one round trip and one commit, and in
-- the caller's transaction nothing is visible or notified before that commits.
--
-- Arrays that are shorter than the others are padded with NULL by unnest, so a column that no job of the call uses
-- costs an empty array.
-- Jobs are inserted in the order of their keys: two calls with the same keys wait for each other in one order only.
-- A key that exists already, or came earlier in the call, leaves its job out. The lines that see to this, marked with
-- `keys`, are left out when no job has a key: they cost a twelfth of the time.
-- Locks: the parents, FOR KEY SHARE, in the order of their ids: that keeps them from being deleted, and nothing else
-- from happening to them. Nothing is written when a parent is missing; those are returned.
-- Returned: jobs with a key, and all that are not simply ready from now on. Of the others one, `sample`, speaks for all:
-- to send and to read ten thousand rows that say the same takes a tenth of the time.
-- Notified: each queue that got a job which is ready, if a worker of the queue wants news, and the time of a scheduled job
-- that is now the earliest. In the caller's transaction nobody is asked (without the part `asks`), and the jobs that wait
-- are notified as well: nobody knows when it commits, and by then their parents may be over.
WITH input AS (
    SELECT *
    FROM unnest(
        %(id)s::uuid[], %(function)s::text[], %(queue)s::text[], %(priority)s::integer[], %(max_attempts)s::integer[],
        %(delay)s::float8[], %(at)s::timestamptz[], %(key)s::text[], %(group_key)s::text[], %(payload)s::jsonb[],
        %(timeout_secs)s::integer[], %(heartbeat_secs)s::integer[], %(meta)s::jsonb[], %(result_ttl)s::integer[],
        %(failure_ttl)s::integer[], %(ttl)s::integer[], %(on_success)s::text[], %(on_failure)s::text[],
        %(on_stopped)s::text[], %(on_success_timeout)s::integer[], %(on_failure_timeout)s::integer[],
        %(on_stopped_timeout)s::integer[], %(retry_intervals)s::text[], %(repeat_remaining)s::integer[],
        %(repeat_interval_secs)s::integer[], %(repeat_intervals)s::text[], %(cron_name)s::text[],
        %(failure_mode)s::text[], %(waits)s::boolean[]
    ) WITH ORDINALITY AS i (
        id, function, queue, priority, max_attempts, delay, at, key, group_key, payload, timeout_secs, heartbeat_secs,
        meta, result_ttl, failure_ttl, ttl, on_success, on_failure, on_stopped, on_success_timeout, on_failure_timeout,
        on_stopped_timeout, retry_intervals, repeat_remaining, repeat_interval_secs, repeat_intervals, cron_name,
        failure_mode, waits, place
    )
), timed AS (
    SELECT i.*, coalesce(i.at, statement_timestamp() + coalesce(i.delay, 0) * interval '1 second') AS due
    FROM input i
), parents AS MATERIALIZED (
    -- Not to be deleted until this has committed. What a foreign key would lock, and with the same lock.
    SELECT j.id, j.key
    FROM {jobs} j
    WHERE j.id IN (
        SELECT unnest(%(parents)s::uuid[])
        UNION ALL
        SELECT k.id FROM {jobs} k WHERE k.key = ANY (%(parent_keys)s::text[])
    )
    ORDER BY j.id
    FOR KEY SHARE
), missing AS (
    SELECT DISTINCT p.id
    FROM unnest(%(parents)s::uuid[], %(parent_keys)s::text[]) AS p (id, key)
    WHERE NOT EXISTS (SELECT FROM input WHERE input.id = p.id)
        AND NOT EXISTS (SELECT FROM parents WHERE parents.id = p.id)
        AND NOT EXISTS (SELECT FROM parents WHERE parents.key = p.key)
), inserted AS (
    INSERT INTO {jobs} AS j (
        id, function, queue, status, priority, max_attempts, attempts_per_round, scheduled_at, enqueued_at, key,
        group_key, payload, timeout_secs, heartbeat_secs, expires_at, meta, result_ttl, failure_ttl, ttl, on_success,
        on_failure, on_stopped, on_success_timeout, on_failure_timeout, on_stopped_timeout, retry_intervals,
        repeat_remaining, repeat_interval_secs, repeat_intervals, cron_name, failure_mode, awaited
    )
    SELECT
        t.id, t.function, t.queue,
        CASE
            WHEN t.waits THEN 'waiting'
            WHEN t.due > statement_timestamp() THEN 'scheduled'
            ELSE 'queued'
        END,
        coalesce(t.priority, 0), coalesce(t.max_attempts, 1), coalesce(t.max_attempts, 1), t.due,
        statement_timestamp(), t.key, t.group_key, t.payload, t.timeout_secs, t.heartbeat_secs,
        greatest(t.due, statement_timestamp()) + t.ttl * interval '1 second', t.meta, t.result_ttl, t.failure_ttl,
        t.ttl, t.on_success, t.on_failure, t.on_stopped, t.on_success_timeout, t.on_failure_timeout,
        t.on_stopped_timeout, t.retry_intervals::integer[], t.repeat_remaining, t.repeat_interval_secs,
        t.repeat_intervals::integer[], t.cron_name, coalesce(t.failure_mode, 'hold'), %(awaited)s
    FROM timed t
    WHERE NOT EXISTS (SELECT FROM missing)
    ORDER BY t.key COLLATE "C", t.place                                                             --? keys
    ON CONFLICT (key) WHERE key IS NOT NULL DO NOTHING                                              --? keys
    RETURNING j.id, j.key, j.queue, j.status, j.scheduled_at, j.enqueued_at, j.expires_at
), linked AS (
    INSERT INTO {dependencies} (child_id, parent_id, allow_failure)
    -- A parent of this call that was left out means the job that has its key. One that this snapshot does not see yet
    -- gives a NULL here, which the table refuses; the client tries again.
    SELECT d.child_id, coalesce(here.id, namesake.id, older.id, known.id), bool_and(d.allow_failure)
    FROM unnest(%(children)s::uuid[], %(parents)s::uuid[], %(parent_keys)s::text[], %(allow_failure)s::boolean[])
        AS d (child_id, parent_id, parent_key, allow_failure)
    JOIN inserted ON inserted.id = d.child_id
    LEFT JOIN inserted here ON here.id = d.parent_id
    LEFT JOIN inserted namesake ON namesake.key = d.parent_key
    LEFT JOIN parents older ON older.key = d.parent_key
    LEFT JOIN parents known ON known.id = d.parent_id
    GROUP BY 1, 2
), announced AS (
    SELECT pg_notify({ready_channel}, 'q' || ready.queue) AS done
    FROM (SELECT DISTINCT queue FROM inserted WHERE status = 'queued') AS ready
    WHERE EXISTS (SELECT FROM {workers} w WHERE w.wants_news AND ready.queue = ANY (w.queues))      --? asks
    UNION ALL
    SELECT pg_notify({ready_channel}, 'd' || extract(epoch FROM first.due)) AS done
    FROM (SELECT min(scheduled_at) AS due FROM inserted WHERE status = 'scheduled') AS first
    WHERE first.due < coalesce((SELECT min(scheduled_at) FROM {jobs} WHERE status = 'scheduled'), 'infinity')
    UNION ALL
    SELECT pg_notify({ready_channel}, 'w' || string_agg(batch.id::text, ',')) AS done
    FROM (
        SELECT i.id, (row_number() OVER () - 1) / 200 AS number FROM inserted i WHERE %(joined)s AND i.status = 'waiting'
    ) AS batch
    GROUP BY batch.number
)
SELECT id::text, (SELECT count(done) FROM announced) AS announced, enqueued_at, status, scheduled_at, expires_at
FROM inserted
WHERE key IS NOT NULL OR status <> 'queued' OR scheduled_at <> enqueued_at OR expires_at IS NOT NULL
    OR id = %(sample)s::uuid
UNION ALL
SELECT id::text, 0, NULL, 'missing', NULL, NULL
FROM missing
