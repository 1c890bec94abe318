-- Claim the best jobs of several queues, or of one in which jobs with a group are ready, in one statement.
--
-- Of the jobs of one group, one runs at a time. Each claim takes the advisory lock of a group first, for as long as its
-- transaction lasts, so two of them never wait for each other. Another one may have come and gone since the snapshot of
-- this one. Then the group's best job, which is the same for all, is not as the snapshot has it: its row is looked at
-- once more when it is locked, and left alone. The one case that escapes is a job that became the best of its group and
-- started within that moment; the unique index over running groups refuses this claim then, and it is sent again.
--
-- Locks what it claims; rows that others hold are skipped. Carried by the ready indexes, that of running groups and the
-- primary key. Rows of jobs that others claim at the same moment may be missing: `attempts` tells how many.
-- Returned: the jobs, and a row without an id for each queue, with where the visit of its groups ended (`key`), and how
-- many of the best jobs were found there and how many of them have a group (`attempts`, `max_attempts`).
WITH RECURSIVE {picked_best}, claimed AS (
    {take_picked}
    RETURNING {job_columns}
)
SELECT * FROM claimed
UNION ALL
SELECT {lane_columns}
FROM lanes l
