-- Settle plain ends and claim the best jobs, in one statement and so one round trip and one commit: settle_complete.sql and
-- claim_best.sql together, which touch different rows. Locks, order and indexes are those of the two. Returned: the rows of
-- claim_best.sql, and of each end that was settled the id and the attempt, in a row without a function.
WITH RECURSIVE {plain_ends}, {picked_best}, claimed AS (
    {take_picked}
    RETURNING {job_columns}
)
SELECT * FROM claimed
UNION ALL
SELECT {lane_columns}
FROM lanes l
UNION ALL
SELECT {settled_columns} FROM settled WHERE (SELECT count(done) FROM announced) >= 0
