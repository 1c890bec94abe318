"""Schedules: whether a registration makes sense, and what is to be enqueued when."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from attrs import frozen

from pgwerk._core import checks
from pgwerk._core.cron import CronTimes, Interval, Rhythm
from pgwerk._core.cronjobs import CronJob, Schedule
from pgwerk._core.errors import SerializationError
from pgwerk._core.models import EnqueueParams, Retry, Undecodable
from pgwerk._core.options import Preparation

OVERDUE_SECS = 60
"""A schedule that should have run so long ago has nobody who runs it: schedulers look every few seconds."""

ON_TIME = timedelta(seconds=60)
"""A run that is this late has not been missed: a scheduler was started again, or took over from another one."""

CATCH_UPS = ("latest", "all", "skip")
OVERLAPS = ("allow", "skip")
MOST_CAUGHT_UP = 10_000


@frozen
class Policy:
    """A registration that makes sense.

    Attributes:
        name: The name of the schedule.
        columns: What goes into its row, but for the times.
    """

    name: str
    columns: Mapping[str, Any]

    @property
    def function(self) -> str:
        """The dotted path of the function."""
        return str(self.columns["function"])


class Due(NamedTuple):
    """What a schedule has to enqueue.

    Attributes:
        ticks: The times of the runs, in their order.
        next_run_at: When it is due next.
    """

    ticks: list[datetime]
    next_run_at: datetime


class Phase(NamedTuple):
    """Where a schedule is in its rhythm.

    Attributes:
        anchor_at: A moment at which an interval ticks.
        next_run_at: When it is due next.
        is_new: Whether there was no such schedule.
    """

    anchor_at: datetime
    next_run_at: datetime
    is_new: bool


def policy_of(job: CronJob, preparation: Preparation, now: datetime) -> Policy:
    """Check a registration: every check happens here, before anything is written.

    Raises:
        TypeError: A field has the wrong type.
        ValueError: A field has a value that makes no sense, or the function cannot be imported by a worker.
        SerializationError: An argument or the metadata cannot be serialized.
    """
    timezone, zone = zone_of(job.timezone)
    if job.cron is not None:
        _check_cron(job.cron, zone)
    else:
        checks.whole("interval", job.interval, minimum=1)
    new = preparation.scheduled(
        EnqueueParams(
            job.func,
            args=job.args,
            kwargs=job.kwargs,
            queue=job.queue,
            priority=job.priority,
            retry=job.retry,
            timeout=job.timeout,
            result_ttl=job.result_ttl,
            failure_ttl=job.failure_ttl,
            meta=job.meta,
        ),
        now,
    )
    chosen = new.options.columns
    name = checks.text("name", job.name, max_bytes=checks.KEY_BYTES)
    columns = {
        "name": name,
        "function": new.function,
        "queue": chosen["queue"],
        "priority": chosen.get("priority", 0),
        "payload": new.payload,
        "cron": job.cron,
        "interval_secs": job.interval,
        "timezone": timezone,
        "catch_up": checks.one_of("catch_up", job.catch_up, CATCH_UPS),
        "catch_up_limit": checks.whole("catch_up_limit", job.catch_up_limit, minimum=1, maximum=MOST_CAUGHT_UP),
        "overlap": checks.one_of("overlap", job.overlap, OVERLAPS),
        "max_attempts": chosen.get("max_attempts", 1),
        "retry_intervals": _retry_intervals(job.retry),
        "timeout_secs": chosen.get("timeout_secs"),
        "result_ttl": chosen.get("result_ttl"),
        "failure_ttl": chosen.get("failure_ttl"),
        "meta": chosen.get("meta"),
        "paused": checks.flag("paused", job.paused),
    }
    return Policy(name, columns)


def zone_of(given: str | tzinfo) -> tuple[str, tzinfo]:
    """A time zone's name, and the zone.

    Raises:
        TypeError: It is neither a name nor a zone that has one.
        ValueError: There is no such zone.
    """
    # UTC needs no database of zones, which not every system has.
    name = "UTC" if given is UTC else getattr(given, "key", given)
    if not isinstance(name, str):
        raise TypeError(
            f"timezone must be the name of a zone, such as 'Europe/Berlin', or a ZoneInfo, not {type(given).__name__} "
            f"({given!r})"
        )
    if name == "UTC":
        return name, UTC
    try:
        return name, ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # depends on what is in the place of the zone's file
        raise ValueError(
            f"timezone: there is no time zone {name!r} here. The names are IANA's, such as 'Europe/Berlin'; a system "
            f"without its own database of them needs the package tzdata"
        ) from None


def phase_of(policy: Policy, schedule: Schedule | None, now: datetime) -> Phase:
    """Where a registered schedule is in its rhythm.

    One that keeps its rhythm keeps its next run, also if that is overdue. With another rhythm it counts from now; an
    interval that only gets longer or shorter keeps its phase.

    Args:
        policy: The registration.
        schedule: What is in the database; None if it is new.
        now: The time.
    """
    anchor = now
    if schedule is not None:
        columns = policy.columns
        same = all(columns[name] == getattr(schedule, name) for name in ("cron", "interval_secs", "timezone"))
        if same:
            return Phase(schedule.anchor_at, schedule.next_run_at, False)
        if schedule.interval_secs is not None and columns["interval_secs"] is not None:
            anchor = schedule.anchor_at
    rhythm = _rhythm(policy.columns["cron"], policy.columns["interval_secs"], policy.columns["timezone"], anchor)
    return Phase(anchor, rhythm.after(now), schedule is None)


def next_run(schedule: Schedule, now: datetime) -> datetime:
    """The first run of a schedule that is still to come."""
    return _rhythm_of(schedule).after(now)


def due(schedule: Schedule, now: datetime) -> Due:
    """What a schedule whose time has come has to enqueue.

    Raises:
        ValueError: Its time zone or its expression means nothing here.
    """
    rhythm = _rhythm_of(schedule)
    upcoming = rhythm.after(now)
    # What is in the row counts, even where it is not a tick: somebody may have written it there.
    latest = max(rhythm.until(now), schedule.next_run_at)
    if schedule.catch_up == "all":
        return Due(_all(rhythm, schedule, latest), upcoming)
    is_missed = schedule.catch_up == "skip" and now - latest > ON_TIME
    return Due([] if is_missed else [latest], upcoming)


def spec_of(schedule: Schedule, at: datetime) -> EnqueueParams:
    """The job of a schedule.

    Args:
        schedule: The schedule.
        at: The time of the run.

    Raises:
        SerializationError: The arguments or the metadata cannot be read.
    """
    for name in ("payload", "meta"):
        if isinstance(value := getattr(schedule, name), Undecodable):
            raise SerializationError(f"the {name} of schedule {schedule.name!r} cannot be read: {value.reason}")
    payload = schedule.payload or {}
    intervals = schedule.retry_intervals
    return EnqueueParams(
        schedule.function,
        args=payload.get("args", ()),
        kwargs=payload.get("kwargs", {}),
        queue=schedule.queue,
        priority=schedule.priority,
        at=at,
        retry=schedule.max_attempts if intervals is None else Retry(schedule.max_attempts, intervals=intervals),
        timeout=schedule.timeout_secs,
        result_ttl=schedule.result_ttl,
        failure_ttl=schedule.failure_ttl,
        meta=schedule.meta,
    )


def _all(rhythm: Rhythm, schedule: Schedule, latest: datetime) -> list[datetime]:
    """The ticks since the one that is due, the latest ones if there are too many."""
    ticks = [latest]
    while len(ticks) < schedule.catch_up_limit:
        earlier = rhythm.until(ticks[-1] - timedelta(microseconds=1))
        if earlier < schedule.next_run_at:
            break
        ticks.append(earlier)
    return ticks[::-1]


def _rhythm_of(schedule: Schedule) -> Rhythm:
    return _rhythm(schedule.cron, schedule.interval_secs, schedule.timezone, schedule.anchor_at)


def _rhythm(cron: str | None, interval_secs: int | None, timezone: str, anchor: datetime) -> Rhythm:
    if cron is not None:
        return CronTimes(cron, zone_of(timezone)[1])
    return Interval(interval_secs or 1, anchor)


def _check_cron(cron: object, zone: tzinfo) -> None:
    if not isinstance(cron, str):
        raise TypeError(f"cron must be a str, not {type(cron).__name__} ({cron!r})")
    try:
        CronTimes(cron, zone)
    except ValueError as error:
        raise ValueError(f"cron: {error}") from None


def _retry_intervals(retry: int | Retry) -> list[int] | None:
    """The waits that were asked for; None if they follow from the configuration, when a job is made."""
    if isinstance(retry, int):
        return None
    return [retry.intervals] if isinstance(retry.intervals, int) else list(retry.intervals)
