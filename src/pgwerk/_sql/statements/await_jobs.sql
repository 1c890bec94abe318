-- Mark jobs as awaited, so that their end is notified: those of all waiters that share a look. Rows that are locked are
-- skipped (a waiter must not wait for a worker, nor for a transaction of the caller's), and come up again with the next
-- poll. Locks the rows in the order of their ids; of two that run at once, the second skips what the first has locked.
-- `awaited` is in no index, so this is a HOT update. Carried by the primary key.
WITH unmarked AS (
    SELECT j.id
    FROM {jobs} j
    WHERE j.id = ANY (%(ids)s::uuid[]) AND NOT j.awaited AND j.completed_at IS NULL
    ORDER BY j.id
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE {jobs} j
SET awaited = true
FROM unmarked
WHERE j.id = unmarked.id
