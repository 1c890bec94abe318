-- Read a page of jobs in the order of their ids, which sort by time, or backwards ("list_newest_jobs"). Takes no locks; the
-- primary key is walked in that order, between two ids if they are given, until the page is full.
SELECT {job_columns}
FROM {jobs} j
WHERE (%(above)s::uuid IS NULL OR j.id > %(above)s)
    AND (%(below)s::uuid IS NULL OR j.id < %(below)s)
    AND {job_filter}
ORDER BY j.id {direction}
LIMIT %(limit)s OFFSET %(offset)s
