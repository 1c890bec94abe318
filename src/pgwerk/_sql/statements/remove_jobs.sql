-- Delete jobs with their history. The caller has locked them FOR UPDATE in a statement before, so that this one sees every
-- child that there is. A parent that did not succeed stays as long as a child waits that it must fail first. From the
-- others, children that wait are freed: what they had to wait for is over, and it no longer counts when the row is gone.
-- Carried by the primary keys and the index over parents. Who waits for a deleted job is notified.
-- Returns what was deleted ("gone") and the children that were freed ("freed").
WITH links AS MATERIALIZED (
    SELECT d.parent_id, child.waits AND NOT d.allow_failure AND NOT parent.succeeded AS fails
    FROM {dependencies} d
    CROSS JOIN LATERAL (SELECT p.status = 'complete' AS succeeded FROM {jobs} p WHERE p.id = d.parent_id OFFSET 0) AS parent
    CROSS JOIN LATERAL (SELECT c.status = 'waiting' AS waits FROM {jobs} c WHERE c.id = d.child_id OFFSET 0) AS child
    WHERE d.parent_id = ANY (%(ids)s::uuid[])
), gone AS (
    DELETE FROM {jobs} j
    WHERE j.id = ANY (%(ids)s::uuid[]) AND j.id <> ALL (ARRAY(SELECT DISTINCT l.parent_id FROM links l WHERE l.fails))
    RETURNING j.id, j.awaited
), history AS (
    DELETE FROM {executions} e USING gone WHERE e.job_id = gone.id
), freed AS (
    DELETE FROM {dependencies} d USING gone WHERE d.parent_id = gone.id RETURNING d.child_id
), announced AS (
    SELECT pg_notify({done_channel}, string_agg(batch.id::text, ',')) AS done
    FROM (SELECT g.id, (row_number() OVER () - 1) / 200 AS number FROM gone g WHERE g.awaited) AS batch
    GROUP BY batch.number
)
SELECT 'gone' AS fate, id::text, (SELECT count(done) FROM announced) AS announced FROM gone
UNION ALL
SELECT DISTINCT 'freed', freed.child_id::text, 0
FROM freed
CROSS JOIN LATERAL (SELECT FROM {jobs} c WHERE c.id = freed.child_id AND c.status = 'waiting' OFFSET 0) AS child
