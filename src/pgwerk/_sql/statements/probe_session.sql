-- Tell what another session of this role is doing, and since when. Takes no locks; reads the server's own tables.
SELECT state, state_change FROM pg_stat_activity WHERE pid = %(pid)s
