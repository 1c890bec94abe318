-- Have the transaction give up instead of waiting: whoever looks must not hang where others do. Takes no locks, and holds
-- for this transaction only, so that it leaves nothing behind in a session that a pooler lends to others.
SELECT set_config('lock_timeout', '1s', true), set_config('statement_timeout', '30s', true)
