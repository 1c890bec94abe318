"""What follows from the end of the worker's jobs: those that waited for them, and rows that are not kept.

A look without locks tells whether anything follows, for all jobs that have ended since the last one. Most jobs have no
children, so it has to cost next to nothing: it goes over the connection that settles, and under load there are few
looks for many jobs. What has to be done then goes over a connection of its own, so that a parent with ten thousand
children holds up no results.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

import psycopg

from pgwerk._async.aftermath import Aftermath
from pgwerk._core.backoff import Backoff
from pgwerk.worker.session import Session

logger = logging.getLogger("pgwerk.worker")

LOOK_INTERVAL_SECS = 0.02
"""The least time between two looks. The first one after a pause is made at once."""
LARGEST_LOOK = 1000
REST_FACTOR = 20


class Follower:
    """Sees to what follows, for one worker.

    Args:
        looking: The connection for looks.
        following: The connection for what has to be done.
        aftermath: Does it.
        on_progress: Called after each look; told whether jobs that waited were released.
    """

    def __init__(
        self, looking: Session, following: Session, aftermath: Aftermath, on_progress: Callable[[bool], None]
    ) -> None:
        self._looking = looking
        self._following = following
        self._aftermath = aftermath
        self._on_progress = on_progress
        # In the order in which they came; a dict is an ordered set.
        self._ended: dict[str, None] = {}
        self._waiting: dict[str, None] = {}
        self._removable: set[str] = set()
        # Whether jobs may wait in vain of which nobody has told.
        self._is_unsure = False
        self._rested_at = 0.0
        self._is_busy = False
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        """How much has not been seen to."""
        return len(self._ended) + len(self._waiting) + self._is_unsure + self._is_busy

    def add(self, job_id: str, *, removable: bool) -> None:
        """A job has ended."""
        self._ended[job_id] = None
        if removable:
            self._removable.add(job_id)
        self._wake.set()

    def add_waiting(self, ids: Iterable[str]) -> None:
        """Jobs that wait for others were committed by somebody who could not see to them."""
        self._waiting.update(dict.fromkeys(ids))
        self._wake.set()

    def look_around(self, *, now: bool) -> None:
        """There may be more of them, which nobody has told of.

        Args:
            now: Whether to look at once; else only after a rest that is much longer than the last look took.
        """
        if now or time.monotonic() >= self._rested_at:
            self._is_unsure = True
            self._wake.set()

    async def run(self) -> None:
        """See to it until cancelled."""
        backoff = Backoff()
        while True:
            await self._wake.wait()
            began = time.monotonic()
            self._is_busy = True
            try:
                await self._look()
                backoff.reset()
            except psycopg.Error as error:
                pause = backoff.next()
                logger.warning("cannot see to jobs that wait for others (next try in %.1f s): %s", pause, error)
                await asyncio.sleep(pause)
            self._is_busy = False
            if not len(self):
                self._wake.clear()
            await asyncio.sleep(began + LOOK_INTERVAL_SECS - time.monotonic())

    async def _look(self) -> None:
        released = await self._follow()
        if self._is_unsure:
            released = await self._look_around() or released
        self._is_busy = False
        self._on_progress(released)

    async def _follow(self) -> bool:
        """See to what has been told; whether jobs that waited were released."""
        # Taken out before: one that is told again meanwhile has ended again.
        ended, waiting = list(self._ended)[:LARGEST_LOOK], list(self._waiting)
        removable = [job_id for job_id in ended if job_id in self._removable]
        self._forget(ended, waiting)
        try:
            return await self._see_to(ended, waiting, removable)
        except BaseException:
            self._ended.update(dict.fromkeys(ended))
            self._waiting.update(dict.fromkeys(waiting))
            self._removable.update(removable)
            raise

    async def _see_to(self, ended: list[str], waiting: list[str], removable: list[str]) -> bool:
        has_children = False
        if ended:
            async with self._looking.use() as connection:
                has_children = await self._aftermath.have_children(connection, ended)
        if not (has_children or waiting or removable):
            return False
        async with self._following.use() as connection:
            changes = await self._aftermath.see_to(
                connection, ended=ended if has_children else (), waiting=waiting, removable=removable
            )
        return bool(changes.released)

    def _forget(self, ended: Iterable[str], waiting: Iterable[str]) -> None:
        for job_id in ended:
            del self._ended[job_id]
        self._removable.difference_update(ended)
        for job_id in waiting:
            del self._waiting[job_id]

    async def _look_around(self) -> bool:
        """See to what has not been told; whether jobs that waited were released."""
        self._is_unsure = False
        began = time.monotonic()
        try:
            async with self._following.use() as connection:
                changes = await self._aftermath.see_to_all(connection)
        except BaseException:
            self._is_unsure = True
            raise
        finally:
            self._rested_at = time.monotonic() + REST_FACTOR * (time.monotonic() - began)
        return bool(changes.released)
