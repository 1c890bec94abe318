"""What the model is made of: jobs, attempts, workers, and times of which only the database knows."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, TypeAlias

from attrs import define, evolve, field, frozen

from pgwerk import Retry

UNSTARTED = ("scheduled", "queued", "waiting")
RUNNING = ("active", "aborting")
OVER = ("complete", "failed", "aborted")


@frozen
class After:
    """So many seconds after a moment of the current step."""

    secs: float = 0


@frozen
class Begins:
    """Any text that begins like this."""

    text: str


Time: TypeAlias = datetime | After | None
Text: TypeAlias = str | Begins | None


@define
class Attempt:
    """An attempt that has ended."""

    attempt: int
    status: str
    worker_id: str | None
    error: Text
    started_at: Time
    completed_at: Time = After()


@define(kw_only=True, eq=False)
class Job:
    """A job. The fields in `COLUMNS` are columns of its row."""

    name: str
    id: str
    function: str
    queue: str = "default"
    status: str = "queued"
    priority: int = 0
    attempts: int = 0
    max_attempts: int = 1
    attempts_per_round: int = 1
    scheduled_at: Time = After()
    enqueued_at: Time = After()
    key: str | None = None
    group_key: str | None = None
    result: Any = None
    error: Text = None
    heartbeat_secs: int | None = None
    started_at: Time = None
    completed_at: Time = None
    touched_at: Time = None
    expires_at: Time = None
    worker_id: str | None = None
    result_ttl: int | None = None
    failure_ttl: int | None = None
    ttl: int | None = None
    repeat_remaining: int | None = None
    repeat_interval_secs: int | None = None
    repeat_intervals: list[int] | None = None
    failure_mode: str = "hold"
    awaited: bool = False

    retry: int | Retry = 1
    constants: tuple[Any, ...] | None = None
    """The columns that nobody changes; a next run has those of the run before. None until they were read."""
    parents: dict[str, bool] = field(factory=dict)
    """Ids of the jobs that it depends on, and whether they may fail; those that were deleted are not among them."""
    history: list[Attempt] = field(factory=list)

    @property
    def is_over(self) -> bool:
        return self.status in OVER

    @property
    def is_running(self) -> bool:
        return self.status in RUNNING

    @property
    def retry_delay(self) -> int:
        """Seconds between the attempt that failed last and the next one."""
        intervals = self.retry.intervals if isinstance(self.retry, Retry) else 0
        if isinstance(intervals, int):
            return intervals
        return intervals[min(self.attempts, len(intervals)) - 1]


COLUMNS = (
    *(
        "id",
        "function",
        "queue",
        "status",
        "priority",
        "attempts",
        "max_attempts",
        "attempts_per_round",
        "scheduled_at",
    ),
    *("enqueued_at", "key", "group_key", "result", "error", "heartbeat_secs", "started_at", "completed_at"),
    *("touched_at", "expires_at", "worker_id", "result_ttl", "failure_ttl", "ttl", "repeat_remaining"),
    *("repeat_interval_secs", "repeat_intervals", "failure_mode", "awaited"),
)
TIMES = tuple(column for column in COLUMNS if column.endswith("_at"))
ATTEMPT_TIMES = ("started_at", "completed_at")
CONSTANTS = (
    *("payload", "meta", "timeout_secs", "retry_intervals", "cron_name", "on_success", "on_failure", "on_stopped"),
    *("on_success_timeout", "on_failure_timeout", "on_stopped_timeout"),
)


@define
class Worker:
    """A worker's row.

    Attributes:
        heartbeat_at: The last heartbeat.
        is_lost: Whether its lease has run out.
    """

    heartbeat_at: Time
    is_lost: bool = False


def plus(time: Time, secs: float) -> Time:
    """So many seconds later."""
    if isinstance(time, After):
        return evolve(time, secs=time.secs + secs)
    return time and time + timedelta(seconds=secs)
