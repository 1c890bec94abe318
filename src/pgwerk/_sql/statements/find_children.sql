-- Find jobs that still wait for one of these, in the order of their ids, from an id on. Takes no locks; carried by the index
-- over parents, of which it reads no more than it returns for each parent, and the primary key.
-- OFFSET 0 here, and in the statements like this one, keeps the planner from turning a look by id into a join, whose plan
-- may be a bad one while the statistics are old.
SELECT child.child_id::text
FROM unnest(%(parents)s::uuid[]) AS parent (id)
CROSS JOIN LATERAL (
    SELECT d.child_id
    FROM {dependencies} d
    WHERE d.parent_id = parent.id AND d.child_id > %(after)s::uuid AND (NOT %(strict)s OR NOT d.allow_failure)
        AND EXISTS (SELECT FROM {jobs} c WHERE c.id = d.child_id AND c.status = 'waiting' OFFSET 0)
    ORDER BY d.child_id
    LIMIT %(limit)s
) AS child
GROUP BY child.child_id
ORDER BY child.child_id
LIMIT %(limit)s
