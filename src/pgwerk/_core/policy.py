"""What becomes of a job after an attempt: the pure decisions behind retries, repeats and rescues.

The worker, the sweep and a job that runs in the caller's process (`_sync`) all end an attempt the same way: they
ask `after_success`, `after_failure` or `after_loss` for an `Outcome`, and send it with the settling statement.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from pgwerk._core.models import ExecutionStatus, JobStatus

BACKOFF_BASE = 2
BACKOFF_CAP = 3600
"""Seconds."""

DEPENDENCY_FAILED = "dependency failed: job"
"""How the error of a job begins that could not start because of another one."""

CANCELLED = "cancelled before it started"
"""The error of a job that was cancelled."""

ABORTED = "aborted on request"
"""The error of a job that ran when it was aborted."""

CALLBACK_TRIES = 3
"""How often a callback is called at most, if it fails or its workers are lost."""

_CALLBACK_DELAYS = (10.0, 60.0)

_ENDINGS = {"failed": "failed", "aborted": "was aborted", "deleted": "was deleted"}


# For every job: to find a member of an enum takes longer than all else in `after_success`.
_COMPLETE, _COMPLETED = JobStatus.Complete, ExecutionStatus.Complete


class Attempt(Protocol):
    """The part of a claimed job on which the decisions rest. `Job` has it, and so has the worker's own record."""

    @property
    def attempts(self) -> int: ...
    @property
    def max_attempts(self) -> int: ...
    @property
    def retry_intervals(self) -> Sequence[int] | None: ...
    @property
    def repeat_remaining(self) -> int | None: ...
    @property
    def repeat_interval_secs(self) -> int | None: ...
    @property
    def repeat_intervals(self) -> Sequence[int] | None: ...


class Outcome(NamedTuple):
    """What the settling statement does to a job.

    Attributes:
        status: The job's next status. A job that was asked to abort ends as aborted instead.
        execution: How the attempt is remembered; None gives the attempt back as if it had not been made.
        result: The packed result, JSON text.
        error: The traceback or reason.
        delay: Seconds until the job is due again, for a retry.
        repeat_delay: Seconds until the next run of a repeating job; None if there is none.
    """

    status: JobStatus
    execution: ExecutionStatus | None
    result: str | None = None
    error: str | None = None
    delay: float = 0.0
    repeat_delay: float | None = None


def after_success(attempt: Attempt, result: str | None) -> Outcome:
    """The handler returned; `result` is its packed value."""
    repeat_delay = _repeat_delay(attempt) if attempt.repeat_remaining else None
    return Outcome(_COMPLETE, _COMPLETED, result, None, 0.0, repeat_delay)


def after_failure(attempt: Attempt, error: str, *, retry: bool = True) -> Outcome:
    """The handler raised.

    Args:
        attempt: The attempt that failed.
        error: Its traceback.
        retry: False for what another attempt cannot make better.
    """
    if not retry or attempt.attempts >= attempt.max_attempts:
        return Outcome(status=JobStatus.Failed, execution=ExecutionStatus.Failed, error=error)
    delay = retry_delay(attempt)
    status = JobStatus.Scheduled if delay else JobStatus.Queued
    return Outcome(status=status, execution=ExecutionStatus.Failed, error=error, delay=delay)


def after_loss(attempt: Attempt, error: str) -> Outcome:
    """The worker was lost. The attempt counts, so that a job which kills its worker comes to an end."""
    spent = attempt.attempts >= attempt.max_attempts
    return Outcome(
        status=JobStatus.Failed if spent else JobStatus.Queued, execution=ExecutionStatus.Failed, error=error
    )


def given_back(delay: float = 0.0) -> Outcome:
    """The worker shut down before the job could end. The attempt does not count and leaves no history.

    Args:
        delay: Seconds for which nobody may start it: its handler may still run.
    """
    return Outcome(status=JobStatus.Scheduled if delay else JobStatus.Queued, execution=None, delay=delay)


def stopped(error: str) -> Outcome:
    """The run was stopped for good, and the job with it: it is not tried again."""
    return Outcome(status=JobStatus.Aborted, execution=ExecutionStatus.Aborted, error=error)


def aborted() -> Outcome:
    """Somebody asked for the running job to be stopped, and it was."""
    return stopped(ABORTED)


def callback_delay(number: int) -> float | None:
    """Seconds until a callback is called again that has failed so many times; None if it is given up."""
    return _CALLBACK_DELAYS[number - 1] if number < CALLBACK_TRIES else None


def unstorable(error: str) -> Outcome:
    """The server refuses to store what came of the attempt."""
    return Outcome(status=JobStatus.Failed, execution=ExecutionStatus.Failed, error=error)


def retry_delay(attempt: Attempt) -> float:
    """Seconds to wait before the next attempt."""
    if not attempt.retry_intervals:
        return 0.0
    return float(_nth(attempt.retry_intervals, attempt.attempts))


def backoff_intervals(max_attempts: int, rng: random.Random) -> list[int] | None:
    """Retry intervals for a job with an integer `_retry`: exponential, with "equal jitter".

    The n-th wait lies between half of 2**n seconds and all of it, capped at an hour. Half fixed keeps a retry from
    following at once, half random keeps jobs that failed together from coming back together. After M. Brooker,
    "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.

    Args:
        max_attempts: Number of attempts allowed.
        rng: Source of the jitter.

    Returns:
        Seconds before each retry, ending with the first at the cap; None when there is no retry.
    """
    waits: list[int] = []
    for retry in range(1, max_attempts):
        ceiling = min(BACKOFF_BASE**retry, BACKOFF_CAP)
        waits.append(rng.randint(ceiling // 2, ceiling))
        if ceiling == BACKOFF_CAP:
            break
    return waits or None


def _repeat_delay(attempt: Attempt) -> float:
    # The list shrinks from run to run, so that its head always belongs to the next one.
    if attempt.repeat_intervals:
        return float(attempt.repeat_intervals[0])
    return float(attempt.repeat_interval_secs or 0)


def _nth(values: Sequence[int], number: int) -> int:
    """The value for the `number`-th time, counted from 1; the last one when the list is too short."""
    return values[min(number, len(values)) - 1]


def dependency_failed(culprit: str, function: str | None, status: str | None) -> str:
    """The error of a job that cannot start because of one that it depends on.

    Args:
        culprit: The id of that job.
        function: Its handler; None when its row is gone.
        status: How it ended; None when its row is gone.
    """
    if status is None:
        return f"{DEPENDENCY_FAILED} {culprit} is gone"
    return f"{DEPENDENCY_FAILED} {culprit} ({function}) {_ENDINGS.get(status, f'is {status}')}"


def expired(ttl: int) -> str:
    """The error of a job that did not start within its time to live, in seconds."""
    return f"expired: the job did not start within its ttl of {ttl} s"
