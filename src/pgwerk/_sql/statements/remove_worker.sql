-- Forget a worker that has stopped. Carried by the primary key.
DELETE FROM {workers} WHERE id = %(id)s::uuid
