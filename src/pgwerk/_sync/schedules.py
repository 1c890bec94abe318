# Generated from src/pgwerk/_async/schedules.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""Schedules are rows: what is to be enqueued again and again, and when it is due next.

A tick is one transaction: lock the rows that are due, insert their jobs, advance the rows. So each tick is enqueued
exactly once, whoever does it, and however often somebody dies on the way:

- Two schedulers that are on the same tick: one has the rows locked, the other one skips them. When it looks again, they
  have been advanced.
- A scheduler that dies before its commit has enqueued nothing, and the rows are as due as they were.
- One that has lost its connection at the commit need not know what became of it: the rows tell.

A lock on a row belongs to the transaction, so all of this works through a pooler, and no scheduler is the leader.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import psycopg

from pgwerk._core import checks
from pgwerk._core.arrays import moments, plain, quoted
from pgwerk._core.cronjobs import Schedule
from pgwerk._core.errors import ScheduleNotFound
from pgwerk._core.models import Job
from pgwerk._core.new_jobs import NewJob
from pgwerk._core.options import Preparation
from pgwerk._core.rows import schedule_from_row, utc
from pgwerk._core.schedules import Policy, due, next_run, phase_of, spec_of
from pgwerk._core.serializers import Serializer
from pgwerk._sync import _compat
from pgwerk._sync.connections import Connection, Connections
from pgwerk._sync.jobs import Jobs
from pgwerk._sync.sending import Sender
from pgwerk._sync.transactions import patiently

logger = logging.getLogger("pgwerk.scheduler")

BATCH = 100
"""The most schedules in one transaction."""

MOST_JOBS = 1000
"""With so many jobs in a transaction, no further schedule goes into it."""


class Ticked(NamedTuple):
    """What a look at the schedules has come to.

    Attributes:
        enqueued: How many jobs were enqueued.
        failed: The names of schedules that are due and could not be enqueued; the log says why.
        next_in: Seconds until the next of the others is due; None if none is going to be.
    """

    enqueued: int
    failed: frozenset[str]
    next_in: float | None


class _Overtaken(Exception):
    """A schedule that was to be new has been written by somebody else meanwhile. Seen once more, it is not new."""


class _Tick(NamedTuple):
    """What one schedule has to enqueue, ready to be inserted."""

    schedule: Schedule
    next_run_at: datetime
    last_run_at: datetime | None
    jobs: Sequence[NewJob]


class _Batch(NamedTuple):
    is_last: bool
    enqueued: int
    failed: frozenset[str]


class Schedules:
    """The schedules of one set of tables."""

    def __init__(
        self,
        connections: Connections,
        sender: Sender,
        jobs: Jobs,
        preparation: Preparation,
        serializer: Serializer,
    ) -> None:
        self._connections = connections
        self._sender = sender
        self._jobs = jobs
        self._preparation = preparation
        self._serializer = serializer

    # What operators do

    def all(self) -> list[Schedule]:
        """All schedules, by name."""
        with self._connections.connection() as connection:
            rows = self._sender.rows(connection, "list_schedules", names=None)
        return [self._read(row) for row in rows]

    def set_paused(self, name: object, paused: bool) -> bool:
        """Pause a schedule, or let it go on from now; whether there is one."""
        checked = checks.text("name", name, max_bytes=checks.KEY_BYTES)
        with self._connections.connection() as connection:
            return patiently(functools.partial(self._set_paused, connection, checked, paused))

    def delete(self, name: object) -> bool:
        """Delete a schedule; whether there was one."""
        checked = checks.text("name", name, max_bytes=checks.KEY_BYTES)
        with self._connections.connection() as connection:
            return patiently(functools.partial(self._delete, connection, checked))

    def trigger(self, name: object) -> Job | None:
        """Enqueue a run now, and leave the rhythm alone; None if the last one has not finished and must have.

        Raises:
            ScheduleNotFound: There is no such schedule.
        """
        checked = checks.text("name", name, max_bytes=checks.KEY_BYTES)
        with self._connections.connection() as connection:
            return patiently(functools.partial(self._trigger, connection, checked))

    # What schedulers do

    def save(self, policies: Collection[Policy]) -> dict[str, bool]:
        """Write registrations, and tell which of them are paused. All of them or none."""
        if not policies:
            return {}
        with self._connections.connection() as connection:
            while True:
                with contextlib.suppress(_Overtaken):
                    return patiently(functools.partial(self._save, connection, policies))

    def overdue(self, known: Collection[str]) -> list[Schedule]:
        """The schedules of others that nobody takes care of."""
        return [schedule for schedule in self.all() if schedule.is_overdue and schedule.name not in known]

    def tick(self, names: Collection[str]) -> Ticked:
        """Enqueue what is due of these schedules."""
        enqueued, failed = 0, frozenset[str]()
        with self._connections.connection() as connection:
            while True:
                batch = self._tick_or_split(connection, set(names) - failed)
                enqueued += batch.enqueued
                failed |= batch.failed
                if batch.is_last:
                    break
            row = self._sender.first(connection, "next_schedule", names=quoted(sorted(set(names) - failed)))
        return Ticked(enqueued, failed, None if row is None else row[0])

    # In transactions

    def _set_paused(self, connection: Connection, name: str, paused: bool) -> bool:
        with connection.transaction():
            now, schedule = self._lock(connection, name)
            if schedule is None:
                return False
            # What it has missed meanwhile, it was meant to miss.
            goes_on = schedule.paused and not paused
            next_run_at = next_run(schedule, now) if goes_on else schedule.next_run_at
            params = {"name": name, "paused": paused, "next_run_at": next_run_at}
            self._sender.run(connection, "pause_schedule", **params)
            return True

    def _delete(self, connection: Connection, name: str) -> bool:
        with connection.transaction():
            self._sender.run(connection, "limit_lock_wait")
            return bool(self._sender.rows(connection, "delete_schedule", name=name))

    def _trigger(self, connection: Connection, name: str) -> Job | None:
        with connection.transaction():
            now, schedule = self._lock(connection, name)
            if schedule is None:
                raise ScheduleNotFound(name)
            if self._unfinished(connection, [schedule]):
                return None
            new = self._prepare(schedule, now, now)
            (job,) = self._jobs.insert([new], connection)
            self._advance(connection, [_Tick(schedule, schedule.next_run_at, now, [new])])
            return job

    def _save(self, connection: Connection, policies: Collection[Policy]) -> dict[str, bool]:
        by_name = {policy.name: policy for policy in policies}
        with connection.transaction():
            self._sender.run(connection, "limit_lock_wait")
            rows = self._sender.rows(connection, "lock_schedules", names=quoted(sorted(by_name)))
            now = utc(rows[0][0])
            known = {row[1]: self._read(row[1:]) for row in rows if row[1] is not None}
            paused = {}
            for name in sorted(by_name):
                policy = by_name[name]
                phase = phase_of(policy, known.get(name), now)
                params = {**policy.columns, **phase._asdict()}
                saved = self._sender.first(connection, "save_schedule", **params)
                if saved is None:
                    raise _Overtaken
                paused[name] = bool(saved[0])
            return paused

    def _tick_or_split(self, connection: Connection, names: Collection[str]) -> _Batch:
        """Enqueue what is due; what the server refuses because of one schedule keeps no other one from its run."""
        try:
            return patiently(functools.partial(self._tick, connection, names))
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            if len(names) == 1:
                (name,) = names
                logger.error("schedule %s is due, and the database refuses its job: %s", name, error)
                return _Batch(True, 0, frozenset(names))
        batches = [self._tick_or_split(connection, [name]) for name in sorted(names)]
        return _Batch(
            False, sum(each.enqueued for each in batches), frozenset().union(*(each.failed for each in batches))
        )

    def _tick(self, connection: Connection, names: Collection[str]) -> _Batch:
        with connection.transaction():
            rows = self._sender.rows(connection, "lock_due_schedules", names=quoted(sorted(names)), limit=BATCH)
            locked = [(utc(row[0]), self._read(row[1:])) for row in rows]
            unfinished = self._unfinished(connection, [schedule for _, schedule in locked])
            ticks, failed = list[_Tick](), set[str]()
            for now, schedule in locked:
                if sum(len(tick.jobs) for tick in ticks) >= MOST_JOBS:
                    # The others are as due as before.
                    break
                # Many missed runs take a while to make: let others have their turn.
                _compat.sleep(0)
                try:
                    ticks.append(self._decide(schedule, now, unfinished))
                except Exception:
                    # Whatever it is, a callback of the application's perhaps: it is about this schedule alone.
                    logger.exception("schedule %s is due, and its job cannot be made", schedule.name)
                    failed.add(schedule.name)
            jobs = [job for tick in ticks for job in tick.jobs]
            if jobs:
                self._jobs.insert(jobs, connection)
            if ticks:
                self._advance(connection, ticks)
        return _Batch(len(ticks) + len(failed) < BATCH and len(jobs) < MOST_JOBS, len(jobs), frozenset(failed))

    def _decide(self, schedule: Schedule, now: datetime, unfinished: Collection[str]) -> _Tick:
        decided = due(schedule, now)
        ticks = decided.ticks
        if schedule.overlap == "skip" and ticks:
            if schedule.last_job_id in unfinished:
                logger.debug("schedule %s is due and left out: job %s runs", schedule.name, schedule.last_job_id)
                ticks = []
            # Several at once would overlap each other.
            ticks = ticks[-1:]
        jobs = [self._prepare(schedule, at, now) for at in ticks]
        return _Tick(schedule, decided.next_run_at, ticks[-1] if ticks else None, jobs)

    def _prepare(self, schedule: Schedule, at: datetime, now: datetime) -> NewJob:
        new = self._preparation.scheduled(spec_of(schedule, at), now, name=schedule.name)
        self._jobs.show([new])
        return new

    def _unfinished(self, connection: Connection, schedules: Sequence[Schedule]) -> list[str]:
        """The last jobs of those that must not overlap, as far as they have not finished.

        A statement of its own: it sees what whoever had the rows locked before has committed.
        """
        ids = [each.last_job_id for each in schedules if each.overlap == "skip" and each.last_job_id is not None]
        return self._sender.ids(connection, "find_unfinished", ids=plain(ids)) if ids else []

    def _advance(self, connection: Connection, ticks: Sequence[_Tick]) -> None:
        params: Mapping[str, Any] = {
            "names": quoted(tick.schedule.name for tick in ticks),
            "next_run_at": moments(tick.next_run_at for tick in ticks),
            "last_run_at": moments(tick.last_run_at for tick in ticks),
            "last_job_id": plain(tick.jobs[-1].id if tick.jobs else None for tick in ticks),
        }
        self._sender.run(connection, "advance_schedules", **params)

    def _lock(self, connection: Connection, name: str) -> tuple[datetime, Schedule | None]:
        # Not for ever: it may be this process that holds the row, in a callback that is called during a tick.
        self._sender.run(connection, "limit_lock_wait")
        (row,) = self._sender.rows(connection, "lock_schedules", names=quoted([name]))
        return utc(row[0]), None if row[1] is None else self._read(row[1:])

    def _read(self, row: Sequence[Any]) -> Schedule:
        return schedule_from_row(row, self._serializer)
