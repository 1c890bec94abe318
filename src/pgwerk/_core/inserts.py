"""The parameters of the statements that insert and settle jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from attrs import frozen

from pgwerk._core.ids import new_id
from pgwerk._core.options import NewJob
from pgwerk._core.policy import Outcome


def _array(values: Sequence[int] | None) -> str | None:
    """An array of integers as PostgreSQL writes it: `unnest` would take a nested list apart."""
    return None if values is None else "{" + ",".join(map(str, values)) + "}"


_COLUMNS: dict[str, Callable[[NewJob], Any]] = {
    "id": lambda new: new.job.id,
    "function": lambda new: new.job.function,
    "queue": lambda new: new.job.queue,
    "priority": lambda new: new.job.priority or None,
    "max_attempts": lambda new: new.job.max_attempts if new.job.max_attempts > 1 else None,
    "delay": lambda new: new.delay,
    "at": lambda new: new.at,
    "key": lambda new: new.job.key,
    "group_key": lambda new: new.job.group_key,
    "payload": lambda new: new.payload,
    "timeout_secs": lambda new: new.job.timeout_secs,
    "heartbeat_secs": lambda new: new.job.heartbeat_secs,
    "meta": lambda new: new.meta,
    "result_ttl": lambda new: new.job.result_ttl,
    "failure_ttl": lambda new: new.job.failure_ttl,
    "ttl": lambda new: new.job.ttl,
    "on_success": lambda new: new.job.on_success,
    "on_failure": lambda new: new.job.on_failure,
    "on_stopped": lambda new: new.job.on_stopped,
    "on_success_timeout": lambda new: new.callback_timeouts[0],
    "on_failure_timeout": lambda new: new.callback_timeouts[1],
    "on_stopped_timeout": lambda new: new.callback_timeouts[2],
    "retry_intervals": lambda new: _array(new.job.retry_intervals),
    "repeat_remaining": lambda new: new.job.repeat_remaining,
    "repeat_interval_secs": lambda new: new.job.repeat_interval_secs,
    "repeat_intervals": lambda new: _array(new.job.repeat_intervals),
    "cron_name": lambda new: new.job.cron_name,
    "failure_mode": lambda new: None if new.job.failure_mode == "hold" else new.job.failure_mode,
    "waits": lambda new: True if new.parents else None,
}


def enqueue_params(jobs: Sequence[NewJob], *, awaited: bool = False) -> dict[str, Any]:
    """The parameters of `enqueue.sql`.

    Args:
        jobs: The jobs to insert.
        awaited: Whether somebody is going to wait for them.
    """
    params: dict[str, Any] = {name: _column(map(value, jobs)) for name, value in _COLUMNS.items()}
    links = [(new.job.id, parent) for new in jobs for parent in new.parents]
    keys = {new.job.id: new.job.key for new in jobs} if links else {}
    params["children"] = [child for child, _ in links]
    params["parents"] = [parent.id for _, parent in links]
    params["parent_keys"] = [keys.get(parent.id) for _, parent in links]
    params["allow_failure"] = [parent.allow_failure for _, parent in links]
    params["awaited"] = awaited
    return params


def _column(values: Iterable[Any]) -> list[Any]:
    """An array for `unnest`; empty when it would hold nothing but NULL, which `unnest` fills in by itself."""
    column = list(values)
    return [] if all(value is None for value in column) else column


@frozen
class Settlement:
    """One attempt that is over, and what it comes to.

    Attributes:
        job_id: The job.
        worker_id: The worker that the attempt belonged to.
        attempt: Number of the attempt.
        outcome: What becomes of the job.
    """

    job_id: str
    worker_id: str
    attempt: int
    outcome: Outcome

    @property
    def key(self) -> tuple[str, int]:
        """The job and the number of the attempt, which no other settlement has."""
        return self.job_id, self.attempt


class Settled(NamedTuple):
    """A row of `settle.sql`: what became of a job.

    Attributes:
        job_id: The job.
        attempt: Number of the attempt.
        status: The status that the job has now.
        removable: Whether its row is not to be kept.
        grouped: Whether it has a group, in which another job may run now.
        announced: How many notifications the whole statement sent.
    """

    job_id: str
    attempt: int
    status: str
    removable: bool
    grouped: bool
    announced: int

    @property
    def key(self) -> tuple[str, int]:
        """As that of its settlement."""
        return self.job_id, self.attempt


def settle_params(settlements: Iterable[Settlement]) -> dict[str, Any]:
    """The parameters of `settle.sql`. They are in the order of the ids, which is the order of locking."""
    ordered = sorted(settlements, key=lambda settlement: settlement.job_id)
    outcomes = [settlement.outcome for settlement in ordered]
    return {
        **fence_params(ordered),
        "status": [outcome.status.value for outcome in outcomes],
        "execution": [outcome.execution and outcome.execution.value for outcome in outcomes],
        "result": _column(outcome.result for outcome in outcomes),
        "error": _column(outcome.error for outcome in outcomes),
        "delay": _column(outcome.delay or None for outcome in outcomes),
        "repeat_delay": _column(outcome.repeat_delay for outcome in outcomes),
        "next_id": _column(None if outcome.repeat_delay is None else new_id() for outcome in outcomes),
    }


def fence_params(settlements: Iterable[Settlement]) -> dict[str, Any]:
    """The parameters of `fenced.sql`."""
    ordered = list(settlements)
    return {
        "id": [settlement.job_id for settlement in ordered],
        "worker_id": [settlement.worker_id for settlement in ordered],
        "attempt": [settlement.attempt for settlement in ordered],
    }
