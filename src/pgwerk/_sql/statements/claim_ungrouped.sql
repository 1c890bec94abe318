-- Claim the best jobs of one queue in one statement, as long as no job of the queue that is ready has a group: with
-- groups, jobs of both kinds have to be compared first (claim_best.sql), and this claims nothing.
-- Locks what it claims; rows that others hold are skipped. Carried by the ready index, of which it reads as many
-- entries as it claims, and the primary key. Two that run at once share the head of the queue between them. An array,
-- because to join what was picked took a fifth more time.
WITH {picked_ungrouped}
{take_picked}
RETURNING {job_columns}
