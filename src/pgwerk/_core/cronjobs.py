"""What is enqueued again and again: as a process registers it, and as it is in the database."""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import Any

from attrs import define, field, frozen

from pgwerk._core import checks
from pgwerk._core.models import Handler, Retry
from pgwerk._core.paths import path_of


@define(kw_only=True)
class CronJob:
    """A function that a scheduler enqueues again and again.

    Attributes:
        func: The function to enqueue.
        queue: Target queue.
        args: Positional arguments.
        kwargs: Keyword arguments.
        interval: Seconds between runs; either this or `cron`. The first run comes after the first of them.
        cron: Cron expression; either this or `interval`. Five fields (minute, hour, day of the month, month, day of the
            week), or six, of which the last one is the second, or `@hourly`, `@daily`, `@weekly`, `@monthly`,
            `@yearly`.
        timeout: Seconds a run may take.
        result_ttl: Seconds the row of a successful run is kept.
        failure_ttl: Seconds the row of a failed run is kept.
        meta: Metadata attached to every job.
        name: Unique name; module and qualified name of the function by default.
        paused: Whether it is paused. When it is registered, this counts for a schedule that is new; one that is there
            stays as operators have left it.
        timezone: The IANA time zone of the expression, as its name or a `ZoneInfo`.
        catch_up: What happens to the runs that were missed while no scheduler ran: "latest" runs once for all of them,
            "all" once for each, "skip" not at all.
        catch_up_limit: How many of them "all" runs at most, the latest ones.
        overlap: "skip" leaves a run out when the last one has not finished; "allow" does not look.
        priority: Priority of every job.
        retry: Number of attempts of every job, or a `Retry`.
    """

    func: Handler = field(kw_only=False)
    queue: str = "default"
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(factory=dict)
    interval: int | None = None
    cron: str | None = None
    timeout: int | None = None
    result_ttl: int | None = None
    failure_ttl: int | None = None
    meta: dict[str, Any] | None = None
    name: str = ""
    paused: bool = False
    timezone: str | tzinfo = "UTC"
    catch_up: str = "latest"
    catch_up_limit: int = 1000
    overlap: str = "allow"
    priority: int = 0
    retry: int | Retry = 1

    def __attrs_post_init__(self) -> None:
        """Name the schedule after its function, and see that it has exactly one rhythm."""
        if not self.name:
            # Not `__module__`: for what is defined in the script that is run, that says nothing.
            self.name = path_of(self.func)
        if (self.interval is None) == (self.cron is None):
            raise ValueError(f"CronJob {self.name!r} needs either interval or cron, and not both")
        if self.interval is not None:
            checks.whole("CronJob.interval", self.interval, minimum=1)


@frozen(kw_only=True)
class Schedule:
    """A schedule as it is in the database, whatever process has registered it. All times are in UTC.

    Attributes:
        name: Unique name; the jobs that it creates have it as their `cron_name`.
        function: Dotted path of the function.
        queue: Queue of the jobs.
        priority: Priority of the jobs.
        payload: The function's arguments, `{"args": [...], "kwargs": {...}}`.
        cron: Cron expression, or None for an interval.
        interval_secs: Seconds between runs, or None for a cron expression.
        timezone: The IANA time zone of the expression.
        catch_up: What happens to missed runs: "latest", "all" or "skip".
        catch_up_limit: How many of them "all" runs at most.
        overlap: What happens when the last run has not finished: "allow" or "skip".
        max_attempts: Number of attempts of each job.
        retry_intervals: Seconds before each retry; None for what the client's configuration says.
        timeout_secs: Seconds an attempt may take.
        result_ttl: Seconds the row of a successful run is kept.
        failure_ttl: Seconds the row of a failed run is kept.
        meta: Metadata of the jobs.
        paused: Whether it is paused.
        anchor_at: A moment at which an interval ticks: its phase.
        next_run_at: When it is due next. A paused one does not run then.
        last_run_at: The tick that it has run last, or when it was triggered; None if it never was.
        last_job_id: The last job that it created; the row may be gone by now.
        is_overdue: Whether it should have run a minute ago, or earlier, and no scheduler has taken care of it.
    """

    name: str
    function: str
    queue: str
    priority: int
    payload: dict[str, Any] | None
    cron: str | None
    interval_secs: int | None
    timezone: str
    catch_up: str
    catch_up_limit: int
    overlap: str
    max_attempts: int
    retry_intervals: list[int] | None
    timeout_secs: int | None
    result_ttl: int | None
    failure_ttl: int | None
    meta: dict[str, Any] | None
    paused: bool
    anchor_at: datetime
    next_run_at: datetime
    last_run_at: datetime | None
    last_job_id: str | None
    is_overdue: bool
