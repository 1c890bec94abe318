"""The parameters of the statements that insert and settle jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from pgwerk._core.arrays import moments, nested, plain, quoted
from pgwerk._core.ids import new_id
from pgwerk._core.options import NewJob
from pgwerk._core.policy import Outcome

_COLUMNS: dict[str, tuple[Callable[[Iterable[Any]], str], Callable[[NewJob], Any]]] = {
    "id": (plain, lambda new: new.job.id),
    "function": (quoted, lambda new: new.job.function),
    "queue": (quoted, lambda new: new.job.queue),
    "priority": (plain, lambda new: new.job.priority or None),
    "max_attempts": (plain, lambda new: new.job.max_attempts if new.job.max_attempts > 1 else None),
    "delay": (plain, lambda new: new.delay),
    "at": (moments, lambda new: new.at),
    "key": (quoted, lambda new: new.job.key),
    "group_key": (quoted, lambda new: new.job.group_key),
    "payload": (quoted, lambda new: new.payload),
    "timeout_secs": (plain, lambda new: new.job.timeout_secs),
    "heartbeat_secs": (plain, lambda new: new.job.heartbeat_secs),
    "meta": (quoted, lambda new: new.meta),
    "result_ttl": (plain, lambda new: new.job.result_ttl),
    "failure_ttl": (plain, lambda new: new.job.failure_ttl),
    "ttl": (plain, lambda new: new.job.ttl),
    "on_success": (quoted, lambda new: new.job.on_success),
    "on_failure": (quoted, lambda new: new.job.on_failure),
    "on_stopped": (quoted, lambda new: new.job.on_stopped),
    "on_success_timeout": (plain, lambda new: new.callback_timeouts[0]),
    "on_failure_timeout": (plain, lambda new: new.callback_timeouts[1]),
    "on_stopped_timeout": (plain, lambda new: new.callback_timeouts[2]),
    "retry_intervals": (quoted, lambda new: nested(new.job.retry_intervals)),
    "repeat_remaining": (plain, lambda new: new.job.repeat_remaining),
    "repeat_interval_secs": (plain, lambda new: new.job.repeat_interval_secs),
    "repeat_intervals": (quoted, lambda new: nested(new.job.repeat_intervals)),
    "cron_name": (quoted, lambda new: new.job.cron_name),
    "failure_mode": (plain, lambda new: None if new.job.failure_mode == "hold" else new.job.failure_mode),
    "waits": (plain, lambda new: True if new.parents else None),
}
"""How each column is written, and where it is in a job. A default is None, so that a column of them costs nothing."""


def enqueue_params(jobs: Sequence[NewJob], *, awaited: bool = False) -> dict[str, Any]:
    """The parameters of `enqueue.sql`.

    Args:
        jobs: The jobs to insert.
        awaited: Whether somebody is going to wait for them.
    """
    params: dict[str, Any] = {name: write(map(value, jobs)) for name, (write, value) in _COLUMNS.items()}
    links = [(new.job.id, parent) for new in jobs for parent in new.parents]
    keys = {new.job.id: new.job.key for new in jobs} if links else {}
    params["children"] = plain(child for child, _ in links)
    params["parents"] = plain(parent.id for _, parent in links)
    params["parent_keys"] = quoted(keys.get(parent.id) for _, parent in links)
    params["allow_failure"] = plain(parent.allow_failure for _, parent in links)
    params["awaited"] = awaited
    return params


class Settlement(NamedTuple):
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
        "status": plain(outcome.status.value for outcome in outcomes),
        "execution": plain(outcome.execution and outcome.execution.value for outcome in outcomes),
        "result": quoted(outcome.result for outcome in outcomes),
        "error": quoted(outcome.error for outcome in outcomes),
        "delay": plain(outcome.delay or None for outcome in outcomes),
        "repeat_delay": plain(outcome.repeat_delay for outcome in outcomes),
        "next_id": plain(None if outcome.repeat_delay is None else new_id() for outcome in outcomes),
    }


def fence_params(settlements: Iterable[Settlement]) -> dict[str, Any]:
    """The parameters of `fenced.sql`."""
    ordered = list(settlements)
    return {
        "id": plain(settlement.job_id for settlement in ordered),
        "worker_id": plain(settlement.worker_id for settlement in ordered),
        "attempt": plain(settlement.attempt for settlement in ordered),
    }
