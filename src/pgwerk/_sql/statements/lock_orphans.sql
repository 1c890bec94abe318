-- Lock running jobs that nobody looks after any more, and say why each is taken for an orphan:
--   - its worker's lease has run out, or its worker is unknown and the job was started more than a lease ago;
--   - its own heartbeat deadline has passed;
--   - nothing was heard of it, its worker's heartbeats included, for longer than a job may be silent.
-- Leases do not count until the server has been up for one: after an outage, everybody's have run out.
-- Locks in the order of the ids and skips rows that others hold: those are being settled. Carried by the running index.
SELECT {job_columns}, CASE
        WHEN lost.lease THEN 'its worker was lost'
        WHEN lost.heartbeat THEN 'its heartbeat stopped'
        ELSE 'nothing was heard of it'
    END AS reason
{orphaned}
ORDER BY j.id
LIMIT %(limit)s
FOR NO KEY UPDATE OF j SKIP LOCKED
