"""Upkeep: the worker's lease, the rescue of other workers' jobs, and the sweep.

A worker is alive as long as its heartbeat is younger than its lease, which is three heartbeats long. Whoever beats also
looks for leases that have run out: the heartbeat itself tells whether there may be any, and only then they are locked.
After an outage of the database everybody's have, so a worker rescues only when it has been connected for one full
lease, in which the others had the time to come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

import psycopg

from pgwerk._async.connections import Connection
from pgwerk._async.leases import Lease
from pgwerk._async.sweeping import Sweeper
from pgwerk._core.backoff import Backoff
from pgwerk._core.claimed import Claimed
from pgwerk._core.inserts import Settled
from pgwerk._core.logs import mark_records
from pgwerk.worker.session import Session

logger = logging.getLogger("pgwerk.worker")


class Upkeep:
    """Upkeep for one worker.

    Args:
        session: The connection for heartbeats and rescues.
        sweeping: The connection for sweeps, which may take long; it is closed in between.
        sweeper: Does the sweeping.
        lease: The worker's lease.
        heartbeat_interval: Seconds between heartbeats.
        sweep_interval: Seconds between sweeps.
        running: Gives the jobs that the worker runs.
        extend_callbacks: Extends what the worker holds besides, with each heartbeat.
        on_rescued: Called with what became of the jobs of lost workers.
        on_beaten: Called after each heartbeat with whether the worker's row says that it wants news.
    """

    def __init__(
        self,
        session: Session,
        sweeping: Session,
        sweeper: Sweeper,
        lease: Lease,
        *,
        heartbeat_interval: float,
        sweep_interval: float,
        running: Callable[[], Sequence[Claimed]],
        extend_callbacks: Callable[[Connection], Awaitable[None]],
        on_rescued: Callable[[Iterable[Settled]], None],
        on_beaten: Callable[[bool], None],
    ) -> None:
        self._session = session
        self._sweeping = sweeping
        self._sweeper = sweeper
        self._lease = lease
        self._heartbeat_interval = heartbeat_interval
        self._sweep_interval = sweep_interval
        self._running = running
        self._extend_callbacks = extend_callbacks
        self._on_rescued = on_rescued
        self._on_beaten = on_beaten
        self._beaten_at = 0.0
        self._reconsider = asyncio.Event()

    async def run(self) -> None:
        """Beat until cancelled."""
        backoff = Backoff()
        while True:
            began = time.monotonic()
            # Modules that came with a job may have set up handlers of their own.
            mark_records()
            try:
                async with self._session.use() as connection:
                    has_orphans = await self.beat(connection)
                    if has_orphans and self._is_settled_in():
                        # What follows goes elsewhere: it may take long, and the lease must not wait for it.
                        self._on_rescued(await self._sweeper.rescue(connection))
                backoff.reset()
                await self._rest(began)
            except psycopg.Error as error:
                pause = min(backoff.next(), self._interval())
                logger.warning("heartbeat failed (next try in %.1f s): %s", pause, error)
                await asyncio.sleep(pause)

    def reconsider(self) -> None:
        """A job has started whose deadline may come before the next beat."""
        self._reconsider.set()

    async def _rest(self, began: float) -> None:
        """Sleep until the next beat is due; that may become sooner meanwhile."""
        while (left := began + self._interval() - time.monotonic()) > 0:
            self._reconsider.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._reconsider.wait()

    async def beat(self, connection: Connection) -> bool:
        """Extend the worker's lease, and the deadlines of its jobs; whether there may be orphans."""
        beat = await self._lease.extend(connection, self._running())
        self.beaten()
        self._on_beaten(beat.wants_news)
        await self._extend_callbacks(connection)
        return beat.has_orphans

    def beaten(self) -> None:
        """The lease has just been extended."""
        self._beaten_at = time.monotonic()

    def holds_lease(self) -> bool:
        """Whether the last heartbeat is young enough, as far as this worker knows."""
        return time.monotonic() < self._beaten_at + self._lease.secs

    async def sweep(self) -> None:
        """Sweep now and then, until cancelled."""
        # Workers that started together do not sweep together.
        await asyncio.sleep(random.uniform(0, self._sweep_interval))
        while True:
            if self._is_settled_in():
                try:
                    await self._sweep_if_needed()
                except psycopg.Error as error:
                    logger.warning("sweep failed (next try in %.1f s): %s", self._sweep_interval, error)
            await asyncio.sleep(self._sweep_interval)

    async def _sweep_if_needed(self) -> None:
        """Look first, as there is seldom anything to do, and to connect is what costs most."""
        async with self._session.use() as connection:
            if not await self._sweeper.is_needed(connection):
                return
        try:
            async with self._sweeping.use() as connection:
                # To connect may have taken long, too.
                if self._is_settled_in():
                    await self._sweeper.sweep(connection)
        finally:
            await self._sweeping.close()

    async def leave(self, connection: Connection) -> None:
        """Take the worker off the list: it runs nothing any more."""
        await self._lease.end(connection)

    def _is_settled_in(self) -> bool:
        """Whether the other workers have had the time to come back, if they have been cut off as well."""
        return self._session.connected_secs >= self._lease.secs

    def _interval(self) -> float:
        """Seconds between beats: often enough for the job with the shortest deadline."""
        deadlines = [claimed.heartbeat_secs for claimed in self._running() if claimed.heartbeat_secs is not None]
        return min([self._heartbeat_interval, *(deadline / 3 for deadline in deadlines)])
