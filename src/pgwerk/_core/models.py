"""The values that users see: jobs, their attempts, and the policies that go with them."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from attrs import define, field, frozen

from pgwerk._core import checks

Handler: TypeAlias = Callable[..., Any] | str
"""A function, or the dotted path under which a worker can import it."""


# `class X(str, Enum)` rather than `StrEnum`: the reference says so, and `str()` of a member differs between the two.
class JobStatus(str, enum.Enum):  # noqa: UP042
    """Where a job is in its life. Terminal: `Complete`, `Failed`, `Aborted`."""

    Scheduled = "scheduled"
    """Waits for its `scheduled_at`."""
    Queued = "queued"
    """Can be claimed by a worker."""
    Waiting = "waiting"
    """Waits for the jobs it depends on."""
    Active = "active"
    """A worker executes it."""
    Aborting = "aborting"
    """A worker executes it and was asked to stop."""
    Complete = "complete"
    """Finished successfully."""
    Failed = "failed"
    """Its attempts are used up."""
    Aborted = "aborted"
    """Cancelled before it ran, or stopped while it did."""

    @property
    def is_terminal(self) -> bool:
        """Whether a job with this status is over."""
        return self in TERMINAL


TERMINAL = frozenset({JobStatus.Complete, JobStatus.Failed, JobStatus.Aborted})


class ExecutionStatus(str, enum.Enum):  # noqa: UP042
    """How one attempt went."""

    Running = "running"
    Complete = "complete"
    Failed = "failed"
    Aborted = "aborted"


class DequeueStrategy(str, enum.Enum):  # noqa: UP042
    """From which of its queues a worker takes the next job."""

    Priority = "priority"
    """The best job of all queues: the highest priority, and among equals the one that has been due for longest."""
    RoundRobin = "round_robin"
    """The queues take turns, and each gives its best jobs."""
    Random = "random"
    """As with `RoundRobin`, but the order of the turns is drawn by lot for each claim."""


class FailureMode(str, enum.Enum):  # noqa: UP042
    """What happens to the row of a job that failed for good."""

    Hold = "hold"
    """It is kept (the default)."""
    Delete = "delete"
    """It is removed."""


class WeaklyReferable:
    """The base of a class whose own slots are nothing but its fields: so another one can have the same memory."""

    __slots__ = ("__weakref__",)


@frozen(kw_only=True, weakref_slot=False)
class Job(WeaklyReferable):
    """A job row of the database, as it was when it was read.

    All times are in UTC, all durations in seconds.

    Attributes:
        id: UUID.
        function: Dotted import path of the handler.
        queue: Queue name.
        status: Where the job is in its life.
        priority: Higher values run first.
        attempts: Number of attempts so far, the running one included.
        max_attempts: Number of attempts allowed.
        scheduled_at: When the job may run at the earliest.
        enqueued_at: When the job was inserted.
        key: Idempotency key.
        group_key: Concurrency group: of the jobs with one group key, one runs at a time.
        payload: The handler's arguments, `{"args": [...], "kwargs": {...}}`.
        result: What the handler returned.
        error: The traceback of the last failure.
        timeout_secs: Seconds an attempt may take.
        heartbeat_secs: Seconds within which a running job must be heard of.
        started_at: When the current attempt started.
        completed_at: When the job reached a terminal state.
        touched_at: When the running job was last heard of.
        expires_at: When an unstarted job expires, or the row of a finished one.
        worker_id: The worker that executes the job, or did last.
        meta: Metadata attached when it was enqueued.
        result_ttl: Seconds the row is kept after success.
        failure_ttl: Seconds the row is kept after failure.
        ttl: Seconds until the unstarted job expires, counted from when it may run.
        on_success: Dotted path of the callback after success.
        on_failure: Dotted path of the callback after failure.
        on_stopped: Dotted path of the callback after a cancel or abort.
        retry_intervals: Seconds before each retry; the last value is used again when there are more retries.
        repeat_remaining: Runs that follow this one.
        repeat_interval_secs: Seconds between runs.
        repeat_intervals: Seconds before each of the runs that follow.
        cron_name: The schedule that created the job.
        failure_mode: "hold" or "delete".
    """

    id: str
    function: str
    queue: str
    status: JobStatus
    priority: int
    attempts: int
    max_attempts: int
    scheduled_at: datetime
    enqueued_at: datetime
    key: str | None = None
    group_key: str | None = None
    payload: dict[str, Any] | None = None
    result: Any = None
    error: str | None = None
    timeout_secs: int | None = None
    heartbeat_secs: int | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    touched_at: datetime | None = None
    expires_at: datetime | None = None
    worker_id: str | None = None
    meta: dict[str, Any] | None = None
    result_ttl: int | None = None
    failure_ttl: int | None = None
    ttl: int | None = None
    on_success: str | None = None
    on_failure: str | None = None
    on_stopped: str | None = None
    retry_intervals: list[int] | None = None
    repeat_remaining: int | None = None
    repeat_interval_secs: int | None = None
    repeat_intervals: list[int] | None = None
    cron_name: str | None = None
    failure_mode: str = "hold"


@frozen(kw_only=True)
class JobExecution:
    """One attempt at a job.

    Attributes:
        id: UUID, derived from the job and the attempt.
        job_id: The job.
        attempt: Number of the attempt, from 1.
        status: How it went.
        worker_id: The worker that ran it.
        error: Traceback, if it failed.
        result: What the handler returned, if it succeeded.
        started_at: When it started.
        completed_at: When it ended.
        max_memory: Bytes that its process took up at most, if it had one of its own: that of a `ForkWorker`.
    """

    id: str
    job_id: str
    attempt: int
    status: ExecutionStatus
    worker_id: str | None = None
    error: str | None = None
    result: Any = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    max_memory: int | None = None


@frozen
class Undecodable:
    """Stands in the place of a payload, result or metadata that the client's serializer cannot read.

    One such row must not make a whole list unreadable.

    Attributes:
        stored: The text in the database.
        reason: What the serializer said.
    """

    stored: str
    reason: str


@frozen
class Retry:
    """How often a job is tried, and how long to wait in between.

    Attributes:
        max: Number of attempts, the first included; at least 1.
        intervals: Seconds between attempts: one value for all, or a list of one each, of which the last is used
            again when the list is shorter than `max - 1`.
    """

    max: int = field(validator=checks.field_of("Retry", checks.whole, minimum=1))
    intervals: int | list[int] = field(default=0, validator=checks.field_of("Retry", checks.interval_or_intervals))


@frozen
class Repeat:
    """Run a job again after each success.

    Attributes:
        times: Number of further runs after the first; at least 1.
        interval: Seconds between runs.
        intervals: Seconds before each further run; takes the place of `interval`, and its last value is used again when
            it is shorter than `times`.
    """

    times: int = field(validator=checks.field_of("Repeat", checks.whole, minimum=1))
    interval: int = field(default=0, validator=checks.field_of("Repeat", checks.whole))
    intervals: list[int] | None = field(
        default=None, validator=checks.field_of("Repeat", checks.intervals, optional=True)
    )


@frozen
class Callback:
    """A function that runs after a job, with a limit to its time.

    Attributes:
        func: The function, or its dotted import path.
        timeout: Seconds after which the callback is cancelled.
    """

    func: Handler
    timeout: int | None = field(
        default=None, validator=checks.field_of("Callback", checks.whole, optional=True, minimum=1)
    )


@frozen
class Dependency:
    """A job that has to end before another one starts.

    Attributes:
        job: The job to wait for, or its id; in `enqueue_many` also the `EnqueueParams` of the same call.
        allow_failure: Whether the dependent job runs even if this one fails or is aborted.
    """

    job: str | Job | EnqueueParams
    allow_failure: bool = False


@define(kw_only=True, eq=False)
class EnqueueParams:
    """One job of `enqueue_many`. The fields are the options of `enqueue` without the underscore.

    Two of them are never equal unless they are the same object, so that a spec can stand for its job in `depends_on`.
    """

    func: Handler = field(kw_only=False)
    args: tuple[Any, ...] = field(default=(), kw_only=False)
    kwargs: dict[str, Any] = field(factory=dict, kw_only=False)
    queue: str = "default"
    priority: int = 0
    delay: float | timedelta | None = None
    at: datetime | None = None
    retry: int | Retry = 1
    timeout: int | None = None
    heartbeat: int | None = None
    key: str | None = None
    group: str | None = None
    meta: dict[str, Any] | None = None
    result_ttl: int | None = None
    failure_ttl: int | None = None
    ttl: int | None = None
    on_success: Callback | Handler | None = None
    on_failure: Callback | Handler | None = None
    on_stopped: Callback | Handler | None = None
    repeat: Repeat | None = None
    depends_on: Dependency | Job | str | EnqueueParams | Sequence[Dependency | Job | str | EnqueueParams] | None = None
    failure_mode: str = "hold"
