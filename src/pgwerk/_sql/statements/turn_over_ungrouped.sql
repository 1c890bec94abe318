-- Settle plain ends and claim the next jobs, in one statement and so one round trip and one commit: settle_complete.sql and
-- claim_ungrouped.sql together, which touch different rows. Under a small concurrency, what a statement costs by itself is
-- more than what its rows do.
-- Locks, order and indexes are those of the two. Returned: the jobs that were claimed, and of each end that was settled the
-- id and the attempt, in a row without a function.
WITH {plain_ends}, {picked_ungrouped}, claimed AS (
    {take_picked}
    RETURNING {job_columns}
)
SELECT * FROM claimed
UNION ALL
SELECT {settled_columns} FROM settled WHERE (SELECT count(done) FROM announced) >= 0
