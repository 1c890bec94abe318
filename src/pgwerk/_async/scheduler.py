"""`CronScheduler`: what a process has registered, and the loop that enqueues it when it is due."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any

import psycopg
from attrs import asdict

from pgwerk._async import _compat
from pgwerk._async.client import Werk
from pgwerk._core import checks
from pgwerk._core.backoff import Backoff
from pgwerk._core.cronjobs import CronJob
from pgwerk._core.models import Handler, Job, Retry
from pgwerk._core.schedules import Policy, policy_of

logger = logging.getLogger("pgwerk.scheduler")

FAILED_PAUSE_SECS = 30.0
"""How long a schedule is left alone whose job could not be made."""


_BLANK = {**asdict(CronJob("any.handler", interval=1)), "interval": None, "name": ""}
"""What `register` has as its defaults."""


class CronScheduler:
    """Enqueues functions again and again: when a cron expression says so, or every so many seconds.

    What is registered here becomes rows in the database when the scheduler runs. Any number of schedulers may run, in
    any number of processes: each tick is enqueued once. Schedules that only other processes have registered are left to
    those.

    A registration under a name that is in the database changes that schedule, but neither when an interval is due next,
    nor whether operators have paused it. To end a schedule, `unregister` it: no longer to register it leaves its row as
    it is, because some other process might still do so. The log tells about those that nobody runs any more.

    Args:
        app: The client to enqueue with.
        poll_interval: Seconds between looks for what others have changed: paused, resumed, registered. The
            configuration's by default.

    Raises:
        TypeError: An argument has the wrong type; `app` may be of the other flavour.
        ValueError: The interval makes no sense.
    """

    def __init__(self, app: Werk, *, poll_interval: float | None = None) -> None:
        if not isinstance(app, Werk):
            raise TypeError(_wrong_client(app))
        self.app = app
        self.poll_interval = checks.seconds(
            "poll_interval", app.config.poll_interval if poll_interval is None else poll_interval, exclusive=True
        )
        self._lock = threading.Lock()
        # Held by who writes registrations: what was registered last is to be written last, and what is unregistered
        # must not be written by who has begun before.
        self._writing = _compat.Lock()
        self._jobs: dict[str, CronJob] = {}
        self._policies: dict[str, Policy] = {}
        # What has been registered and is not in the database yet.
        self._unsaved: dict[str, Policy] = {}
        # Names of schedules whose job could not be made, and until when to leave them alone.
        self._failed: dict[str, float] = {}
        self._reported: set[str] = set()
        self._contended = Backoff()
        self._look_around_at = 0.0
        self._alarm: _compat.Alarm | None = None
        self._is_stopping = False
        app._add_scheduler(self)

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, name: object) -> bool:
        return name in self._jobs

    def __repr__(self) -> str:
        return f"<{type(self).__name__} with {len(self)} schedules for {self.app!r}>"

    @property
    def jobs(self) -> list[CronJob]:
        """What is registered here, in the order of registration."""
        return list(self._jobs.values())

    def get(self, name: str) -> CronJob | None:
        """What is registered here under a name; None if nothing is."""
        return self._jobs.get(name)

    # Registering

    def register(
        self,
        func: Handler | CronJob,
        *,
        cron: str | None = None,
        interval: int | None = None,
        queue: str = "default",
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
        timeout: int | None = None,
        result_ttl: int | None = None,
        failure_ttl: int | None = None,
        meta: dict[str, Any] | None = None,
        name: str | None = None,
        paused: bool = False,
        timezone: str | tzinfo = "UTC",
        catch_up: str = "latest",
        catch_up_limit: int = 1000,
        overlap: str = "allow",
        priority: int = 0,
        retry: int | Retry = 1,
    ) -> CronJob:
        """Register a function that is to be enqueued again and again. Nothing is written before the scheduler runs.

        May be called from any thread, also while the scheduler runs. Once more under the same name, for the same
        function, it takes the place of the first registration.

        Args:
            func: The function, or its dotted path; or a `CronJob`, which says all the rest itself.
            cron: When to run; either this or `interval`. Five fields (minute, hour, day of the month, month, day of the
                week), or six, of which the last one is the second, or `@hourly`, `@daily`, `@weekly`, `@monthly`,
                `@yearly`.
            interval: Seconds between runs; the first one comes after the first of them.
            queue: Queue of the jobs.
            args: Positional arguments of the function.
            kwargs: Keyword arguments of the function.
            timeout: Seconds a run may take.
            result_ttl: Seconds the row of a successful run is kept.
            failure_ttl: Seconds the row of a failed run is kept.
            meta: Metadata of the jobs.
            name: Unique name; module and qualified name of the function by default.
            paused: Whether a schedule that is new begins paused.
            timezone: The IANA time zone that the expression is about, as its name or a `ZoneInfo`. A time that is
                skipped when clocks are put forward ticks as much later; one that is there twice ticks the first time;
                an expression that leaves the hour open goes on through both changes.
            catch_up: What happens to runs that were missed while no scheduler ran: "latest" runs once for all of them,
                "all" once for each, "skip" not at all. A run that is less than a minute late was not missed.
            catch_up_limit: How many of them "all" runs at most, the latest ones; up to 10,000.
            overlap: "skip" leaves a run out when the last one has not finished; "allow" does not look.
            priority: Priority of the jobs.
            retry: Number of attempts of each job, or a `Retry`.

        Returns:
            What is registered.

        Raises:
            TypeError: A field has the wrong type.
            ValueError: A field makes no sense, or the name is registered here for another function.
            SerializationError: An argument or the metadata cannot be serialized.
        """
        fields: dict[str, Any] = {
            "cron": cron,
            "interval": interval,
            "queue": queue,
            "args": args,
            "kwargs": {} if kwargs is None else kwargs,
            "timeout": timeout,
            "result_ttl": result_ttl,
            "failure_ttl": failure_ttl,
            "meta": meta,
            "name": "" if name is None else name,
            "paused": paused,
            "timezone": timezone,
            "catch_up": catch_up,
            "catch_up_limit": catch_up_limit,
            "overlap": overlap,
            "priority": priority,
            "retry": retry,
        }
        job = _given(func, fields) if isinstance(func, CronJob) else CronJob(func, **fields)
        policy = policy_of(job, self.app._preparation, datetime.now(UTC))
        with self._lock:
            known = self._policies.get(job.name)
            if known is not None and known.function != policy.function:
                raise ValueError(
                    f"name: {job.name!r} is registered for {known.function}, and cannot be for {policy.function} as "
                    f"well: give one of them another name"
                )
            self._jobs[job.name] = job
            self._policies[job.name] = self._unsaved[job.name] = policy
            self._failed.pop(job.name, None)
        self._wake()
        return job

    async def unregister(self, name: str) -> bool:
        """End a schedule: take it off this scheduler, and delete its row. Jobs that it has enqueued stay.

        Returns:
            Whether there was one.

        Raises:
            psycopg.Error: What the database says.
        """
        with self._lock:
            job = self._jobs.pop(name, None)
            self._policies.pop(name, None)
            self._unsaved.pop(name, None)
        async with self._writing:
            is_deleted = await self.app.delete_schedule(name)
        return is_deleted or job is not None

    async def pause(self, name: str) -> bool:
        """Pause a schedule until it is resumed, whatever process runs it.

        Returns:
            Whether there is one.

        Raises:
            psycopg.Error: What the database says.
        """
        await self._save()
        return self._note(name, True) if await self.app.pause_schedule(name) else False

    async def resume(self, name: str) -> bool:
        """Let a paused schedule go on. What it would have run meanwhile is not made up for.

        Returns:
            Whether there is one.

        Raises:
            psycopg.Error: What the database says.
        """
        await self._save()
        found = self._note(name, False) if await self.app.resume_schedule(name) else False
        self._wake()
        return found

    async def trigger(self, name: str) -> Job | None:
        """Enqueue a run now, paused or not, without a change to when it is due next.

        Returns:
            The job; None if the last run has not finished and the schedule says `overlap="skip"`.

        Raises:
            ScheduleNotFound: There is no such schedule.
            psycopg.Error: What the database says.
        """
        await self._save()
        return await self.app.trigger_schedule(name)

    # Running

    async def run(self) -> None:
        """Enqueue what is due, whenever it is, until `stop()` is called.

        The client is connected first, and stays connected. When the database is away, this waits for it.

        Raises:
            RuntimeError: This scheduler runs already.
            psycopg.Error: The database cannot be reached at the start.
        """
        with self._lock:
            if self._alarm is not None:
                raise RuntimeError("this scheduler runs already")
            self._alarm = alarm = _compat.Alarm()
        backoff = Backoff()
        try:
            await self.app.connect()
            logger.info("scheduler with %d schedules is ready", len(self))
            while not self._is_stopping:
                try:
                    pause = await self._turn()
                    backoff.reset()
                except psycopg.Error as error:
                    pause = backoff.next()
                    logger.warning("scheduler failed (next try in %.1f s): %s", pause, error)
                if not self._is_stopping:
                    await alarm.sleep(pause)
            logger.info("scheduler has stopped")
        finally:
            self._alarm = None
            self._is_stopping = False

    def stop(self) -> None:
        """Have `run()` end, after the tick that is under way; before `run()`, have it end at once.

        May be called from any thread, and by a signal handler.
        """
        self._is_stopping = True
        self._wake()

    async def tick(self) -> int:
        """Do once what `run()` does again and again: write what is registered, and enqueue what is due now.

        For tests, and for programs that are started by something that has a clock.

        Returns:
            How many jobs were enqueued.

        Raises:
            psycopg.Error: What the database says.
        """
        await self._save()
        ticked = await self.app._schedules.tick(list(self._policies))
        return ticked.enqueued

    async def _turn(self) -> float:
        """Enqueue what is due, and tell how many seconds there are to wait."""
        await self._save()
        now = time.monotonic()
        if now >= self._look_around_at:
            self._look_around_at = now + self.app.config.sweep_interval
            await self._look_around()
        with self._lock:
            policies = {name: each for name, each in self._policies.items() if self._failed.get(name, 0.0) <= now}
        ticked = await self.app._schedules.tick(list(policies))
        for name in ticked.failed:
            # Registered anew meanwhile, it may be mended.
            if self._policies.get(name) is policies[name]:
                self._failed[name] = now + FAILED_PAUSE_SECS
        pause = self.poll_interval if ticked.next_in is None else ticked.next_in
        if pause <= 0 and not ticked.enqueued:
            # In the hands of another scheduler, for a few milliseconds; or of somebody who takes his time.
            pause = self._contended.next()
        else:
            self._contended.reset()
        return min(pause, self.poll_interval)

    async def _save(self) -> None:
        """Write what is registered, and learn what operators have paused."""
        await self.app.connect()
        async with self._writing:
            with self._lock:
                unsaved = dict(self._unsaved)
            await self._write(unsaved)

    async def _write(self, unsaved: Mapping[str, Policy]) -> None:
        paused = await self.app._schedules.save(list(unsaved.values()))
        with self._lock:
            for name, policy in unsaved.items():
                if self._unsaved.get(name) is policy:
                    del self._unsaved[name]
        for name in paused:
            self._note(name, paused[name])

    async def _look_around(self) -> None:
        """Tell, once, about schedules that nobody runs: the code that registered them may be gone."""
        for schedule in await self.app._schedules.overdue(list(self._policies)):
            if schedule.name not in self._reported:
                self._reported.add(schedule.name)
                logger.warning(
                    "schedule %s (%s) is due since %s, and no scheduler runs it: its code may be gone; it is not in "
                    "this one's registrations; to end it, delete it: delete_schedule(%r)",
                    schedule.name,
                    schedule.function,
                    schedule.next_run_at.isoformat(),
                    schedule.name,
                )

    def _note(self, name: str, paused: bool) -> bool:
        job = self._jobs.get(name)
        if job is not None:
            job.paused = paused
        return True

    def _wake(self) -> None:
        alarm = self._alarm
        if alarm is not None:
            alarm.ring()


def _wrong_client(app: object) -> str:
    needed = Werk.__name__
    return f"app must be a {needed}, not {type(app).__name__}"


def _given(job: CronJob, fields: dict[str, Any]) -> CronJob:
    """The `CronJob` that was passed, which leaves nothing to be said beside it."""
    extra = [name for name, value in fields.items() if value != _BLANK[name]]
    if extra:
        raise ValueError(f"{extra[0]} cannot be given beside a CronJob, which has a field of that name")
    return job
