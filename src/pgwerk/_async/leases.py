"""The lease of whoever runs jobs: a row in the workers table, and heartbeats that extend it.

Whoever runs jobs is alive as long as its last heartbeat is younger than its lease, which is three heartbeats long. When
the lease has run out, the jobs are rescued by others.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import psycopg

from pgwerk._async import _compat
from pgwerk._async.connections import Connection, Connections
from pgwerk._async.sending import Sender
from pgwerk._core.claimed import Claimed
from pgwerk._core.version import pgwerk_version

logger = logging.getLogger("pgwerk.leases")

LAST_BEAT_SECS = 5.0
"""How long to wait for a heartbeat that is under way when the lease is given up."""


class Beat(NamedTuple):
    """The answer to a heartbeat.

    Attributes:
        wants_news: Whether its row says that the worker wants news. One that is new says that it does not.
        has_orphans: Whether there may be orphans among the jobs of all workers.
    """

    wants_news: bool = False
    has_orphans: bool = False


class Lease:
    """The lease of one worker.

    Args:
        sender: Sends the statements.
        worker: What `worker_row` says about the worker.
    """

    def __init__(self, sender: Sender, worker: Mapping[str, Any]) -> None:
        self.worker_id: str = worker["id"]
        self.secs: float = worker["lease_secs"]
        self._sender = sender
        self._worker = worker

    async def extend(self, connection: Connection, running: Sequence[Claimed]) -> Beat:
        """Say that the worker is alive, and so are the jobs that it runs.

        Returns:
            What the server knows of the worker and of the others.
        """
        row = await self._sender.first(connection, "heartbeat", **self._worker, running=len(running))
        touched = [claimed.id for claimed in running if claimed.heartbeat_secs is not None]
        if touched:
            await self._sender.run(connection, "touch_job", ids=sorted(touched), worker_id=self.worker_id)
        return Beat() if row is None else Beat(*row)

    async def want_news(self, connection: Connection, wants_news: bool) -> None:
        """Say whether whoever enqueues has to notify the worker."""
        await self._sender.run(connection, "want_news", id=self.worker_id, wants_news=wants_news)

    async def end(self, connection: Connection) -> None:
        """Take the worker off the list: it runs nothing any more."""
        await self._sender.run(connection, "remove_worker", id=self.worker_id)


class Heartbeat:
    """Extends a lease in the background while one job runs.

    Args:
        connections: Each heartbeat takes a new connection, because a pool may be exhausted by those that wait for this.
        lease: The lease.
        claimed: The job.
        interval: Seconds between heartbeats.
    """

    def __init__(self, connections: Connections, lease: Lease, claimed: Claimed, interval: float) -> None:
        self._connections = connections
        self._lease = lease
        self._claimed = claimed
        deadline = claimed.heartbeat_secs
        self._interval = interval if deadline is None else min(interval, deadline / 3)
        self._over = _compat.Signal()
        self._background = _compat.Background(self._run, "pgwerk-heartbeat")

    def stop(self) -> None:
        """Begin no further heartbeat."""
        self._over.set()

    async def join(self) -> None:
        """Wait for the one that is under way."""
        await self._background.join(LAST_BEAT_SECS)

    async def _run(self) -> None:
        pause = self._interval
        while not await self._over.wait(pause):
            try:
                await self._beat()
                pause = self._interval
            except psycopg.Error as error:
                pause = self._interval / 3
                logger.warning("heartbeat failed (next try in %.1f s): %s", pause, error)

    async def _beat(self) -> None:
        connection = await self._connections.open()
        try:
            await self._lease.extend(connection, [self._claimed])
        finally:
            await connection.close()


def worker_row(
    worker_id: str,
    kind: str,
    queues: Sequence[str],
    concurrency: int,
    heartbeat_interval: float,
    *,
    max_active_secs: float,
) -> dict[str, Any]:
    """The constant columns of a worker's row, and for how long a job may be silent before it counts as an orphan."""
    return {
        "id": worker_id,
        "kind": kind,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "queues": list(queues),
        "concurrency": concurrency,
        "version": pgwerk_version(),
        "lease_secs": 3.0 * heartbeat_interval,
        "max_active_secs": max_active_secs,
    }
