-- Insert jobs, with their dependencies and their notifications: one statement, so one round trip and one commit, and in
-- the caller's transaction nothing is visible or notified before that commits.
--
-- Arrays that are shorter than the others are padded with NULL by unnest, so a column that no job of the call uses
-- costs an empty array.
-- Jobs are inserted in the order of their keys: two calls with the same keys wait for each other in one order only.
-- A key that exists already, or came earlier in the call, leaves its job out.
-- Locks: the foreign key's share lock on the parents. Nothing is written when a parent is missing; those are returned.
-- Notified: each queue that got a job which is ready, and the time of a scheduled job that is now the earliest.
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
), missing AS (
    SELECT p.id
    FROM unnest(%(parents)s::uuid[]) AS p (id)
    WHERE NOT EXISTS (SELECT FROM {jobs} j WHERE j.id = p.id) AND p.id <> ALL (%(id)s::uuid[])
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
    ORDER BY t.key COLLATE "C", t.place
    ON CONFLICT (key) WHERE key IS NOT NULL DO NOTHING
    RETURNING j.id, j.key, j.queue, j.status, j.scheduled_at, j.enqueued_at, j.expires_at
), linked AS (
    INSERT INTO {dependencies} (child_id, parent_id, allow_failure)
    -- A parent of this call that was left out means the job that has its key.
    SELECT d.child_id, coalesce(here.id, namesake.id, older.id, d.parent_id), d.allow_failure
    FROM unnest(%(children)s::uuid[], %(parents)s::uuid[], %(parent_keys)s::text[], %(allow_failure)s::boolean[])
        AS d (child_id, parent_id, parent_key, allow_failure)
    JOIN inserted ON inserted.id = d.child_id
    LEFT JOIN inserted here ON here.id = d.parent_id
    LEFT JOIN inserted namesake ON namesake.key = d.parent_key
    LEFT JOIN {jobs} older ON older.key = d.parent_key
    ON CONFLICT DO NOTHING
), announced AS (
    SELECT pg_notify({ready_channel}, 'q' || ready.queue) AS done
    FROM (SELECT DISTINCT queue FROM inserted WHERE status = 'queued') AS ready
    UNION ALL
    SELECT pg_notify({ready_channel}, 'd' || extract(epoch FROM first.due)) AS done
    FROM (SELECT min(scheduled_at) AS due FROM inserted WHERE status = 'scheduled') AS first
    WHERE first.due < coalesce((SELECT min(scheduled_at) FROM {jobs} WHERE status = 'scheduled'), 'infinity')
)
SELECT id::text, status, scheduled_at, enqueued_at, expires_at, (SELECT count(done) FROM announced) AS announced
FROM inserted
UNION ALL
SELECT id::text, 'missing', NULL, NULL, NULL, 0
FROM missing
