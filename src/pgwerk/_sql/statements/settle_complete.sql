-- End attempts that succeeded, where nothing follows from the end of the job: it has no callback for it and no next run. It is settle.sql for the usual case, and does the same to the rows, at a fraction of the cost: what a statement
-- might have to do costs time whether there is any of it or not.
--
-- The fence is that of settle.sql, for one worker. A job that was asked to abort meanwhile is left alone, and so is what
-- somebody else holds: what is not returned, settle.sql is asked about. No partial index's predicate follows from the
-- conditions, so that no old snapshot makes it walk every job that the worker ever ran.
-- Locks the jobs in the order of their ids, which is that of the parameters. Carried by the primary key.
-- Notified: the end of jobs that are awaited, up to 200 in one notification; with the part `groups`, which is needed when
-- one of the jobs has a group, queues in which another job of its group is ready.
WITH {plain_ends}
SELECT id::text, attempt, (SELECT count(done) FROM announced) AS announced
FROM settled
