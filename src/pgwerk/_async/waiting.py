"""Waiting for jobs to end: listen first, then look, then wait, and look again now and then.

The order is what makes it safe. A job that ends before the first look is seen by it; one that ends later is notified,
because it was marked as awaited before that look, and the listener is already there. Where the mark could not be set
(the row was locked at that moment) or the notification does not arrive, the next look by the clock finds it.

Looks by the clock are made at moments that all waiters with one interval have in common, and a look is shared by all
who want one (see looking.py): a thousand waiters send one query per interval.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from typing import NamedTuple

from pgwerk._async.connections import Connections
from pgwerk._async.listening import START_SECS, Listener, Subscription
from pgwerk._async.looking import Looks
from pgwerk._core.errors import JobNotFound
from pgwerk._core.models import Job
from pgwerk._core.rows import job_from_row
from pgwerk._core.serializers import Serializer
from pgwerk._sql import Statements

ONE_LOOK_SECS = 5.0
"""How long the one look may take that a time-out of 0 asks for."""
GATHER_SECS = 0.1
"""How often who waits for many jobs looks before the last of them was heard of: it could not go on any earlier."""


class Waiting:
    """Waits for the jobs of one set of tables."""

    def __init__(
        self, connections: Connections, statements: Statements, listener: Listener, serializer: Serializer
    ) -> None:
        self._looks = Looks(connections, statements)
        self._listener = listener
        self._serializer = serializer
        # Where in an interval the polls are: processes that were started together need not poll together.
        self._phase = random.random()

    async def until_ended(
        self,
        ids: Iterable[str],
        *,
        timeout: float | None,
        poll_interval: float,
        marked: bool = False,
        enough: Callable[[Job], bool] | None = None,
    ) -> dict[str, Job]:
        """Wait until all of these jobs have ended, or one of them for which `enough` is true.

        Args:
            ids: The jobs.
            timeout: Seconds to wait at most; None waits for ever, 0 looks once.
            poll_interval: Seconds between looks, in case that no notification arrives.
            marked: Whether the jobs are marked as awaited already.
            enough: Decides whether the end of this job ends the waiting; None waits for all of them.

        Returns:
            The jobs that have ended, by id, in the order in which that was seen.

        Raises:
            TimeoutError: They have not ended in time.
            JobNotFound: One of them does not exist, or was deleted meanwhile.
            psycopg.Error: What the database says when it is asked.
        """
        wait = _Wait(ids, timeout, poll_interval, self._phase, enough)
        if timeout == 0:
            if not await self._look(wait, _Request(list(wait.outstanding), mark=False)):
                raise wait.timed_out()
            return wait.ended
        async with self._listener.subscribe(wait.outstanding, wait.patience_secs) as subscription:
            request = await _at_all(wait, subscription, mark=not marked)
            while not await self._look(wait, request):
                if wait.is_late():
                    raise wait.timed_out()
                request = await _next_request(wait, subscription, mark=not marked)
        return wait.ended

    async def _look(self, wait: _Wait, request: _Request) -> bool:
        """See which of the jobs have ended; returns whether that ends the waiting."""
        found = await self._looks.ended(request.ids, mark=request.mark, deadline=wait.deadline)
        jobs = []
        for job_id, row in found.items():
            if row is None:
                raise JobNotFound(job_id)
            jobs.append(job_from_row(row, self._serializer))
        return wait.note(jobs)


class _Request(NamedTuple):
    """A look: at which jobs, and whether to mark them as awaited first."""

    ids: Collection[str]
    mark: bool


class _Wait:
    """What one waiter waits for, and until when.

    Attributes:
        outstanding: The jobs whose end was not seen yet, and the place of each among all.
        ended: The others, in the order of their end.
        heard: Those outstanding whose end was notified since the last look.
        deadline: When to give up, by the monotonic clock.
    """

    def __init__(
        self,
        ids: Iterable[str],
        timeout: float | None,
        poll_interval: float,
        phase: float,
        enough: Callable[[Job], bool] | None,
    ) -> None:
        self.outstanding = {job_id: place for place, job_id in enumerate(dict.fromkeys(ids))}
        self.ended: dict[str, Job] = {}
        self.heard: set[str] = set()
        self._places = dict(self.outstanding)
        self._enough = enough
        self._timeout = math.inf if timeout is None else timeout
        self.deadline = time.monotonic() + (self._timeout or ONE_LOOK_SECS)
        self._interval = poll_interval
        self._phase = phase * poll_interval
        self._next_poll = self._poll_after(time.monotonic())
        self._next_look = 0.0

    @property
    def patience_secs(self) -> float:
        """How long to wait for the listener: some time must be left to look."""
        return min(START_SECS, self._timeout / 2)

    def note(self, jobs: Iterable[Job]) -> bool:
        """A look has found that these have ended; returns whether that ends the waiting."""
        self.heard.clear()
        self._next_look = time.monotonic() + GATHER_SECS
        for job in sorted(jobs, key=self._by_end):
            del self.outstanding[job.id]
            self.ended[job.id] = job
            if self._enough is not None and self._enough(job):
                return True
        return not self.outstanding

    def is_late(self) -> bool:
        """Whether it is time to give up."""
        return time.monotonic() >= self.deadline

    def polls_now(self) -> bool:
        """Whether it is time to look by the clock; says so once each time."""
        now = time.monotonic()
        if now < self._next_poll:
            return False
        self._next_poll = self._poll_after(now)
        return True

    def hear(self, ids: Iterable[str]) -> None:
        """The end of these was notified."""
        self.heard.update(job_id for job_id in ids if job_id in self.outstanding)

    def looks_now(self) -> bool:
        """Whether it is time to look at what was heard: at once when it is the last, else now and then."""
        if len(self.heard) == len(self.outstanding):
            return True
        return bool(self.heard) and time.monotonic() >= self._next_look

    def secs_to_sleep(self) -> float:
        """Seconds until something is to be done, if nothing more is heard."""
        due = min(self._next_poll, self.deadline)
        return (min(due, self._next_look) if self.heard else due) - time.monotonic()

    def timed_out(self) -> TimeoutError:
        """What to raise when it is late."""
        first, *others = self.outstanding
        what = f"{len(self.outstanding)} jobs, among them {first}," if others else f"job {first}"
        return TimeoutError(f"{what} did not end within {self._timeout:g} s")

    def _poll_after(self, now: float) -> float:
        """The next moment at which all who wait with this interval look."""
        return now + self._interval - (now - self._phase) % self._interval

    def _by_end(self, job: Job) -> tuple[datetime, int]:
        return job.completed_at or job.enqueued_at, self._places[job.id]


async def _at_all(wait: _Wait, subscription: Subscription, *, mark: bool) -> _Request:
    """A look at all that is outstanding; what was heard before it, it will see."""
    await subscription.wait(0)
    return _Request(list(wait.outstanding), mark)


async def _next_request(wait: _Wait, subscription: Subscription, *, mark: bool) -> _Request:
    """Wait for a reason to look; it is a look at nothing when it has become late."""
    while not wait.is_late():
        if wait.polls_now():
            return await _at_all(wait, subscription, mark=mark)
        if wait.looks_now():
            return _Request(list(wait.heard), mark=False)
        wait.hear(await subscription.wait(wait.secs_to_sleep()))
    return _Request((), mark=False)
