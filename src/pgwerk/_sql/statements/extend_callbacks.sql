-- Keep callbacks that have been taken up from being taken up by others for another while.
-- Locks in the order of the ids; rows that others hold are skipped, as there is time until the next heartbeat. Carried by
-- the primary key. Two workers cannot both have taken the same one: `callback_due` tells them apart.
WITH held AS MATERIALIZED (
    SELECT j.id, i.due
    FROM unnest(%(ids)s::uuid[], %(dues)s::timestamptz[]) AS i (id, due)
    CROSS JOIN LATERAL (
        SELECT r.id FROM {jobs} r WHERE r.id = i.id AND r.callback_due = i.due FOR NO KEY UPDATE SKIP LOCKED
    ) AS j
)
UPDATE {jobs} j
SET callback_due = statement_timestamp() + %(secs)s * interval '1 second'
FROM held
WHERE j.id = held.id
RETURNING j.id::text, held.due, j.callback_due
