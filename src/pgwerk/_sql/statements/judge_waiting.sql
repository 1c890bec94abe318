-- Of jobs that wait, tell those whose waiting is over, and why: no parent is left that has not ended, or one that must not
-- fail (the culprit) has failed, was aborted, or is gone. Takes no locks: what a parent has come to, it has come to, so the
-- verdict still holds when it is carried out (release.sql, end_unstarted.sql). Carried by the primary keys.
--
-- Whoever ends a parent asks this after the commit, in a statement of its own. Of two that end two parents of one job at
-- the same time, the one whose statement begins later sees both ends. In one transaction with the end, each would see the
-- other's parent as running, and the job would wait for ever.
--
-- A job may wait for a hundred thousand others, and this is asked each time that some have ended. A parent that has not
-- is looked for among the youngest first, which end last. While there is one, only the suspects may be culprits: those that
-- have just ended (NULL suspects all).
SELECT asked.id::text, culprit.id::text, culprit.function, culprit.status
FROM unnest(%(ids)s::uuid[]) AS asked (id)
CROSS JOIN LATERAL (SELECT FROM {jobs} c WHERE c.id = asked.id AND c.status = 'waiting' OFFSET 0) AS child
LEFT JOIN LATERAL (
    SELECT true AS is_there
    FROM {dependencies} d
    CROSS JOIN LATERAL (SELECT FROM {jobs} p WHERE p.id = d.parent_id AND p.completed_at IS NULL OFFSET 0) AS parent
    WHERE d.child_id = asked.id
    ORDER BY d.parent_id DESC
    LIMIT 1
) AS pending ON true
LEFT JOIN LATERAL (
    SELECT d.parent_id AS id, parent.function, parent.status
    FROM {dependencies} d
    LEFT JOIN LATERAL (
        SELECT p.id, p.function, p.status, p.completed_at FROM {jobs} p WHERE p.id = d.parent_id OFFSET 0
    ) AS parent ON true
    WHERE d.child_id = asked.id AND NOT d.allow_failure
        AND (pending.is_there IS NULL OR %(suspects)s::uuid[] IS NULL OR d.parent_id = ANY (%(suspects)s))
        AND (parent.id IS NULL OR (parent.completed_at IS NOT NULL AND parent.status <> 'complete'))
    ORDER BY d.parent_id
    LIMIT 1
) AS culprit ON true
WHERE pending.is_there IS NULL OR culprit.id IS NOT NULL
ORDER BY asked.id
