-- Ask for a running job to be stopped. The caller has locked it. Its worker is notified, and ends it as aborted, whatever
-- comes of it. Carried by the primary key.
WITH asked AS (
    UPDATE {jobs} j
    SET status = 'aborting'
    WHERE j.id = %(id)s::uuid AND j.status = 'active'
    RETURNING j.id
)
SELECT pg_notify({ready_channel}, 'a' || asked.id::text) FROM asked
