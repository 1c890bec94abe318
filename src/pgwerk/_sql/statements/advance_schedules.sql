-- Say when schedules are due next, and what they have enqueued last, where they have.
-- Runs in the transaction that has locked the rows. Carried by the primary key; no index changes, so updates stay HOT.
UPDATE {schedules} s
SET next_run_at = a.next_run_at,
    last_run_at = coalesce(a.last_run_at, s.last_run_at),
    last_job_id = coalesce(a.last_job_id, s.last_job_id)
FROM unnest(
    %(names)s::text[], %(next_run_at)s::timestamptz[], %(last_run_at)s::timestamptz[], %(last_job_id)s::uuid[]
) AS a (name, next_run_at, last_run_at, last_job_id)
WHERE s.name = a.name
