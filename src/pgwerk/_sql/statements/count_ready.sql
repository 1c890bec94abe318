-- Whether anything in these queues could run, now or once a running job of its group has ended. Takes no locks, so that
-- jobs which another claim holds just now count. Carried by the ready indexes, of which it reads one entry per queue;
-- written with limits, because EXISTS may be planned as a hash of the whole backlog while the statistics are old.
{any_ready}
