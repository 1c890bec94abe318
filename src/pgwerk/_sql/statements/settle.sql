-- End attempts: the one statement through which a running job leaves that state, for whoever ends it.
--
-- The fence: a row is touched only if it still belongs to the attempt that is ended (worker, number of the attempt, not
-- over). It is written with columns from which no partial index's predicate follows: with `status = 'active'` it might
-- be planned over the running index, and walk every job that the worker ever ran while an old snapshot is held.
-- Locks the jobs in the order of their ids and skips those that others hold; what is not returned was skipped or fenced
-- off, and fenced.sql tells which. Carried by the primary key.
-- A job that was asked to abort ends as aborted, whatever came of it. An attempt without an execution status is given
-- back. The next run of a repeating job is inserted here, and takes the key over. The callback that fits the end is owed
-- from here on; for `callback_secs` it is left to whoever sends this, and with NULL to whichever worker is first.
-- Notified: the end of jobs that are awaited, up to 200 in one notification; queues in which something became ready, or in
-- which callbacks are owed; the time of a retry.
WITH input AS (
    SELECT *
    FROM unnest(
        %(id)s::uuid[], %(worker_id)s::uuid[], %(attempt)s::integer[], %(status)s::text[], %(execution)s::text[],
        %(result)s::text[], %(error)s::text[], %(delay)s::float8[], %(repeat_delay)s::float8[], %(next_id)s::uuid[],
        %(max_memory)s::bigint[]
    ) AS i (id, worker_id, attempt, status, execution, result, error, delay, repeat_delay, next_id, max_memory)
), held AS MATERIALIZED (
    SELECT
        j.id, j.worker_id AS runner, j.started_at AS began,
        i.attempt, i.execution, i.result AS outcome, i.delay, i.next_id, i.max_memory,
        CASE WHEN j.status = 'aborting' THEN coalesce(i.error, {aborted}) ELSE i.error END AS reason,
        CASE WHEN j.status = 'aborting' THEN 'aborted' ELSE i.status END AS next_status,
        CASE WHEN j.status <> 'aborting' THEN i.repeat_delay END AS repeat_delay,
        j.status = 'aborting' OR i.status IN ('complete', 'failed', 'aborted') AS ended,
        i.execution IS NULL AND j.status <> 'aborting' AS given_back,
        CASE
            WHEN j.status = 'aborting' OR i.status = 'aborted' THEN j.failure_ttl
            WHEN i.status = 'complete' THEN j.result_ttl
            WHEN j.failure_mode = 'delete' THEN 0
            ELSE j.failure_ttl
        END AS kept_secs,
        CASE
            WHEN j.status = 'aborting' OR i.status = 'aborted' THEN CASE WHEN j.on_stopped IS NOT NULL THEN 'on_stopped' END
            WHEN i.status = 'complete' THEN CASE WHEN j.on_success IS NOT NULL THEN 'on_success' END
            WHEN i.status = 'failed' THEN CASE WHEN j.on_failure IS NOT NULL THEN 'on_failure' END
        END AS callback
    FROM input i
    CROSS JOIN LATERAL (
        SELECT
            r.id, r.status, r.worker_id, r.started_at, r.failure_mode, r.result_ttl, r.failure_ttl,
            r.on_success, r.on_failure, r.on_stopped
        FROM {jobs} r
        WHERE r.id = i.id AND r.worker_id = i.worker_id AND r.attempts = i.attempt AND r.completed_at IS NULL
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS j
), settled AS (
    UPDATE {jobs} j
    SET status = h.next_status,
        attempts = CASE WHEN h.given_back THEN j.attempts - 1 ELSE j.attempts END,
        result = CASE WHEN h.next_status = 'complete' THEN h.outcome::jsonb END,
        error = CASE WHEN h.given_back THEN j.error ELSE h.reason END,
        completed_at = CASE WHEN h.ended THEN statement_timestamp() END,
        worker_id = CASE WHEN h.ended THEN j.worker_id END,
        started_at = CASE WHEN h.ended THEN j.started_at END,
        touched_at = CASE WHEN h.ended THEN j.touched_at END,
        scheduled_at = CASE
            WHEN h.next_status = 'scheduled' THEN statement_timestamp() + h.delay * interval '1 second'
            ELSE j.scheduled_at
        END,
        expires_at = CASE
            -- Who waits for a job must have the time to read it. NULL keeps the row.
            WHEN h.ended THEN statement_timestamp() + (
                h.kept_secs + CASE WHEN j.awaited THEN greatest({awaited_secs} - h.kept_secs, 0) ELSE 0 END
            ) * interval '1 second'
            -- It is unstarted once more, and has its whole time again.
            WHEN h.given_back AND j.attempts = 1
                THEN statement_timestamp() + (coalesce(h.delay, 0) + j.ttl) * interval '1 second'
        END,
        key = CASE WHEN h.repeat_delay IS NULL THEN j.key END,
        callback = coalesce(h.callback, j.callback),
        callback_due = CASE
            WHEN h.callback IS NULL THEN j.callback_due
            ELSE statement_timestamp() + coalesce(%(callback_secs)s::float8, 0) * interval '1 second'
        END,
        callback_tries = CASE WHEN h.callback IS NULL THEN j.callback_tries ELSE 0 END
    FROM held h
    WHERE j.id = h.id
    RETURNING
        j.id, j.queue, j.status, j.group_key, j.awaited, j.scheduled_at, j.expires_at, j.failure_mode,
        j.callback_due, h.callback, h.attempt, h.ended, h.next_id, h.repeat_delay
), remembered AS (
    INSERT INTO {executions} (job_id, attempt, status, worker_id, error, started_at, completed_at, max_memory)
    SELECT
        h.id, h.attempt, CASE WHEN h.next_status = 'aborted' THEN 'aborted' ELSE h.execution END, h.runner, h.reason,
        h.began, statement_timestamp(), h.max_memory
    FROM held h
    WHERE NOT h.given_back
), repeated AS (
    INSERT INTO {jobs} (
        id, function, queue, status, priority, max_attempts, attempts_per_round, scheduled_at, enqueued_at, key,
        group_key, payload, timeout_secs, heartbeat_secs, expires_at, meta, result_ttl, failure_ttl, ttl, on_success,
        on_failure, on_stopped, on_success_timeout, on_failure_timeout, on_stopped_timeout, retry_intervals,
        repeat_remaining, repeat_interval_secs, repeat_intervals, cron_name, failure_mode
    )
    SELECT
        s.next_id, j.function, j.queue, CASE WHEN s.repeat_delay > 0 THEN 'scheduled' ELSE 'queued' END, j.priority,
        j.attempts_per_round, j.attempts_per_round, statement_timestamp() + s.repeat_delay * interval '1 second',
        statement_timestamp(), j.key, j.group_key, j.payload, j.timeout_secs, j.heartbeat_secs,
        statement_timestamp() + (s.repeat_delay + j.ttl) * interval '1 second', j.meta, j.result_ttl, j.failure_ttl,
        j.ttl, j.on_success, j.on_failure, j.on_stopped, j.on_success_timeout, j.on_failure_timeout,
        j.on_stopped_timeout, j.retry_intervals, j.repeat_remaining - 1, j.repeat_interval_secs,
        CASE WHEN cardinality(j.repeat_intervals) > 1 THEN j.repeat_intervals[2:] ELSE j.repeat_intervals END,
        j.cron_name, j.failure_mode
    FROM settled s
    JOIN {jobs} j ON j.id = s.id
    WHERE s.repeat_delay IS NOT NULL
    RETURNING queue, status, scheduled_at
), announced AS (
    SELECT pg_notify({done_channel}, string_agg(batch.id::text, ',')) AS done
    FROM (
        SELECT s.id, (row_number() OVER () - 1) / 200 AS number FROM settled s WHERE s.ended AND s.awaited
    ) AS batch
    GROUP BY batch.number
    UNION ALL
    SELECT pg_notify({ready_channel}, 'q' || ready.queue) AS done
    FROM (
        SELECT queue FROM settled WHERE status = 'queued'
        UNION
        SELECT queue FROM repeated WHERE status = 'queued'
        UNION
        SELECT s.queue
        FROM settled s
        -- With a limit: EXISTS may be planned as a hash of all jobs with a group.
        CROSS JOIN LATERAL (
            SELECT FROM {jobs} r
            WHERE r.queue = s.queue AND r.status = 'queued' AND r.group_key = s.group_key
            LIMIT 1
        ) AS next
        WHERE s.group_key IS NOT NULL
    ) AS ready
    UNION ALL
    SELECT pg_notify({ready_channel}, 'c' || owing.queue) AS done
    FROM (
        SELECT DISTINCT queue FROM settled WHERE callback IS NOT NULL AND %(callback_secs)s::float8 IS NULL
    ) AS owing
    UNION ALL
    SELECT pg_notify({ready_channel}, 'd' || extract(epoch FROM first.due)) AS done
    FROM (
        SELECT min(later.scheduled_at) AS due
        FROM (
            SELECT scheduled_at FROM settled WHERE status = 'scheduled'
            UNION ALL
            SELECT scheduled_at FROM repeated WHERE status = 'scheduled'
        ) AS later
    ) AS first
    WHERE first.due < coalesce((SELECT min(scheduled_at) FROM {jobs} WHERE status = 'scheduled'), 'infinity')
)
SELECT
    s.id::text, s.attempt, s.status,
    s.ended AND s.failure_mode = 'delete' AND s.expires_at <= statement_timestamp() AND s.callback_due IS NULL AS removable,
    s.group_key IS NOT NULL AS grouped, s.callback IS NOT NULL AS owing, (SELECT count(done) FROM announced) AS announced
FROM settled s
