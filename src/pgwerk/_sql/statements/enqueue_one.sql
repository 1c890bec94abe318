-- Insert one job that waits for no other, and notify who may run it. It is enqueue.sql for the usual case, in which
-- arrays and what sees to dependencies cost several times what the insert does. Both write the same row.
--
-- A line that is marked with a part is left out for jobs that do not need it: to open the due index, to be ready for a
-- conflict, and to compute what is NULL or the table's default anyway, costs as much as the insert. The parts are named
-- after what a job may have; `decided` comes with `later` and with `more`, as the client cannot know the rest then.
-- All parameters are texts, so that one prepared statement takes all values.
-- A key that exists already leaves the job out, and nothing is returned. While the transaction that has inserted the key
-- is open, this waits for its end, as a unique index does.
-- Locks: nothing else.
-- Notified: the queue, if the job is ready and a worker of the queue wants news; its time, if it is the earliest of the
-- jobs that are scheduled, which the due index tells. A commit that notifies takes a lock that there is one of, so busy
-- workers want none; those that want some have an index of their own. In the caller's transaction nobody is asked (without
-- the part `asks`): by the time that it commits, they may want other things.
INSERT INTO {jobs} AS j (
    id, function, queue, payload, status, scheduled_at, enqueued_at
    , priority                                                                                      --? priority
    , max_attempts, attempts_per_round                                                              --? attempts
    , awaited                                                                                       --? awaited
    , key                                                                                           --? key
    , group_key, timeout_secs, heartbeat_secs, expires_at, meta, result_ttl, failure_ttl, ttl       --? more
    , on_success, on_failure, on_stopped, on_success_timeout, on_failure_timeout                    --? more
    , on_stopped_timeout, retry_intervals, repeat_remaining, repeat_interval_secs                   --? more
    , repeat_intervals, cron_name, failure_mode                                                     --? more
)
SELECT
    %(id)s::uuid, %(function)s, %(queue)s, %(payload)s::jsonb,
    CASE WHEN t.due > t.now THEN 'scheduled' ELSE                                                   --? later
    'queued'
    END                                                                                             --? later
    , t.due, t.now
    , %(priority)s::integer                                                                         --? priority
    , %(max_attempts)s::integer, %(max_attempts)s::integer                                          --? attempts
    , true                                                                                          --? awaited
    , %(key)s                                                                                       --? key
    , %(group_key)s, %(timeout_secs)s::integer, %(heartbeat_secs)s::integer                         --? more
    , greatest(t.due, t.now) + %(ttl)s::integer * interval '1 second', %(meta)s::jsonb              --? more
    , %(result_ttl)s::integer, %(failure_ttl)s::integer, %(ttl)s::integer                           --? more
    , %(on_success)s, %(on_failure)s, %(on_stopped)s, %(on_success_timeout)s::integer               --? more
    , %(on_failure_timeout)s::integer, %(on_stopped_timeout)s::integer                              --? more
    , %(retry_intervals)s::integer[], %(repeat_remaining)s::integer                                 --? more
    , %(repeat_interval_secs)s::integer, %(repeat_intervals)s::integer[], %(cron_name)s             --? more
    , coalesce(%(failure_mode)s, 'hold')                                                            --? more
FROM (
    SELECT
        statement_timestamp() AS now,
        coalesce(%(at)s::timestamptz,                                                               --? later
        statement_timestamp()
        + coalesce(%(delay)s::float8, 0) * interval '1 second')                                     --? later
        AS due
) AS t
ON CONFLICT (key) WHERE key IS NOT NULL DO NOTHING                                                  --? key
RETURNING
    CASE WHEN j.status = 'queued' THEN                                                              --? later
    CASE WHEN EXISTS (                                                                              --? asks
        SELECT FROM {workers} w WHERE w.wants_news AND %(queue)s = ANY (w.queues)                   --? asks
    ) THEN                                                                                          --? asks
    pg_notify({ready_channel}, 'q' || j.queue)
    END                                                                                             --? asks
    WHEN j.scheduled_at < coalesce(                                                                 --? later
        (SELECT min(s.scheduled_at) FROM {jobs} s WHERE s.status = 'scheduled'), 'infinity'         --? later
    ) THEN pg_notify({ready_channel}, 'd' || extract(epoch FROM j.scheduled_at)) END                --? later
    AS announced, j.enqueued_at
    , j.status, j.scheduled_at, j.expires_at                                                        --? decided
