-- Write a schedule as it was registered. One that is there keeps whether it is paused, and what it has run last.
-- Runs in the transaction that has locked the row, if there was one (lock_schedules). If there was none (`is_new`) and
-- somebody else has inserted one since, that is waited for and left as it is, and nothing is returned: where the schedule is
-- in its rhythm has to be found out anew.
INSERT INTO {schedules} AS s (
    name, function, queue, priority, payload, cron, interval_secs, timezone, catch_up, catch_up_limit, overlap,
    max_attempts, retry_intervals, timeout_secs, result_ttl, failure_ttl, meta, paused, anchor_at, next_run_at
)
VALUES (
    %(name)s, %(function)s, %(queue)s, %(priority)s, %(payload)s::jsonb, %(cron)s, %(interval_secs)s, %(timezone)s,
    %(catch_up)s, %(catch_up_limit)s, %(overlap)s, %(max_attempts)s, %(retry_intervals)s::integer[],
    %(timeout_secs)s, %(result_ttl)s, %(failure_ttl)s, %(meta)s::jsonb, %(paused)s, %(anchor_at)s, %(next_run_at)s
)
ON CONFLICT (name) DO UPDATE
SET function = excluded.function, queue = excluded.queue, priority = excluded.priority, payload = excluded.payload,
    cron = excluded.cron, interval_secs = excluded.interval_secs, timezone = excluded.timezone,
    catch_up = excluded.catch_up, catch_up_limit = excluded.catch_up_limit, overlap = excluded.overlap,
    max_attempts = excluded.max_attempts, retry_intervals = excluded.retry_intervals,
    timeout_secs = excluded.timeout_secs, result_ttl = excluded.result_ttl, failure_ttl = excluded.failure_ttl,
    meta = excluded.meta,
    anchor_at = excluded.anchor_at, next_run_at = excluded.next_run_at
WHERE NOT %(is_new)s
RETURNING s.paused
