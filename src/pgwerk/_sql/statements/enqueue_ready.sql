-- Insert many jobs of which nothing is left to decide: they are ready from now on, wait for no other job and have no key,
-- so all of them are inserted. It is enqueue.sql for the usual case, without what that does to find out and to tell what
-- became of each: to read and to write wide rows three times over took half as long as the insert. Both write the same
-- rows.
--
-- A line that is marked with a part is left out when no job needs it. The parts are named as in enqueue_one.sql.
-- Arrays that are shorter than the others are padded with NULL by unnest.
-- Locks: nothing else.
-- Returned: the moment from which all of them are ready.
-- Notified: each of the queues, `queues`, of which a worker wants news; without the part `asks`, all of them.
WITH inserted AS (
    INSERT INTO {jobs} (
        id, function, queue, payload, status, scheduled_at, enqueued_at
        , priority                                                                                  --? priority
        , max_attempts, attempts_per_round                                                          --? attempts
        , awaited                                                                                   --? awaited
        , group_key, timeout_secs, heartbeat_secs, meta, result_ttl, failure_ttl                    --? more
        , on_success, on_failure, on_stopped, on_success_timeout, on_failure_timeout                --? more
        , on_stopped_timeout, retry_intervals, repeat_remaining, repeat_interval_secs               --? more
        , repeat_intervals, cron_name, failure_mode                                                 --? more
    )
    SELECT
        i.id, i.function, i.queue, i.payload, 'queued', statement_timestamp(), statement_timestamp()
        , coalesce(i.priority, 0)                                                                   --? priority
        , coalesce(i.max_attempts, 1), coalesce(i.max_attempts, 1)                                  --? attempts
        , true                                                                                      --? awaited
        , i.group_key, i.timeout_secs, i.heartbeat_secs, i.meta, i.result_ttl, i.failure_ttl        --? more
        , i.on_success, i.on_failure, i.on_stopped, i.on_success_timeout, i.on_failure_timeout      --? more
        , i.on_stopped_timeout, i.retry_intervals::integer[], i.repeat_remaining                    --? more
        , i.repeat_interval_secs, i.repeat_intervals::integer[], i.cron_name                        --? more
        , coalesce(i.failure_mode, 'hold')                                                          --? more
    FROM unnest(
        %(id)s::uuid[], %(function)s::text[], %(queue)s::text[], %(payload)s::jsonb[]
        , %(priority)s::integer[]                                                                   --? priority
        , %(max_attempts)s::integer[]                                                               --? attempts
        , %(group_key)s::text[], %(timeout_secs)s::integer[], %(heartbeat_secs)s::integer[]         --? more
        , %(meta)s::jsonb[], %(result_ttl)s::integer[], %(failure_ttl)s::integer[]                  --? more
        , %(on_success)s::text[], %(on_failure)s::text[], %(on_stopped)s::text[]                    --? more
        , %(on_success_timeout)s::integer[], %(on_failure_timeout)s::integer[]                      --? more
        , %(on_stopped_timeout)s::integer[], %(retry_intervals)s::text[]                            --? more
        , %(repeat_remaining)s::integer[], %(repeat_interval_secs)s::integer[]                      --? more
        , %(repeat_intervals)s::text[], %(cron_name)s::text[], %(failure_mode)s::text[]             --? more
    ) AS i (
        id, function, queue, payload
        , priority                                                                                  --? priority
        , max_attempts                                                                              --? attempts
        , group_key, timeout_secs, heartbeat_secs, meta, result_ttl, failure_ttl                    --? more
        , on_success, on_failure, on_stopped, on_success_timeout, on_failure_timeout                --? more
        , on_stopped_timeout, retry_intervals, repeat_remaining, repeat_interval_secs               --? more
        , repeat_intervals, cron_name, failure_mode                                                 --? more
    )
)
SELECT count(pg_notify({ready_channel}, 'q' || ready.queue)) AS announced, statement_timestamp() AS enqueued_at
FROM unnest(%(queues)s::text[]) AS ready (queue)
WHERE EXISTS (SELECT FROM {workers} w WHERE w.wants_news AND ready.queue = ANY (w.queues))          --? asks
