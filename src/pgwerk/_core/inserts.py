"""The parameters of the statements that insert and settle jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from operator import itemgetter
from typing import Any, NamedTuple

from pgwerk._core.arrays import EMPTY, lists, moments, plain, quoted, scalar
from pgwerk._core.claimed import Claimed
from pgwerk._core.errors import JobNotFound
from pgwerk._core.ids import new_id
from pgwerk._core.models import TERMINAL, Job, JobStatus
from pgwerk._core.new_jobs import NewJob
from pgwerk._core.policy import Outcome
from pgwerk._core.rows import utc

_OPTIONS: dict[str, Callable[[Iterable[Any]], str]] = {
    "queue": quoted,
    "priority": plain,
    "max_attempts": plain,
    "delay": plain,
    "at": moments,
    "key": quoted,
    "group_key": quoted,
    "timeout_secs": plain,
    "heartbeat_secs": plain,
    "meta": quoted,
    "result_ttl": plain,
    "failure_ttl": plain,
    "ttl": plain,
    "on_success": quoted,
    "on_failure": quoted,
    "on_stopped": quoted,
    "on_success_timeout": plain,
    "on_failure_timeout": plain,
    "on_stopped_timeout": plain,
    "retry_intervals": lists,
    "repeat_remaining": plain,
    "repeat_interval_secs": plain,
    "repeat_intervals": lists,
    "cron_name": quoted,
    "failure_mode": plain,
}
"""The columns that options come to, and how an array of each is written."""

_NO_OPTIONS: dict[str, Any] = dict.fromkeys(_OPTIONS)
_STATUSES = {status.value: status for status in JobStatus}


def in_batches(jobs: Sequence[NewJob], *, most: int, most_characters: int) -> list[Sequence[NewJob]]:
    """Jobs, cut into what one statement takes.

    Args:
        jobs: The jobs, in the order in which they are inserted.
        most: How many jobs may be in a batch.
        most_characters: How long its payloads and metadata may be together, unless it is a single job.
    """
    batches = []
    start, characters = 0, 0
    for position, new in enumerate(jobs):
        size = len(new.payload) + len(new.options.columns.get("meta", ""))
        if position > start and (position - start == most or characters + size > most_characters):
            batches.append(jobs[start:position])
            start, characters = position, 0
        characters += size
    return [*batches, jobs[start:]]


def in_key_order(jobs: Sequence[NewJob]) -> Sequence[NewJob]:
    """Jobs in the order in which `enqueue.sql` inserts them, for when one statement is not enough.

    Two calls with the same keys wait for each other in one order only. Jobs with dependencies stay in the order given,
    in which parents come first.
    """
    if any(new.parents for new in jobs) or not keys_of(jobs):
        return jobs
    return sorted(jobs, key=lambda new: ("key" not in new.options.columns, new.options.columns.get("key")))


def keys_of(jobs: Iterable[NewJob]) -> dict[str, str]:
    """The keys of those that have one, by id."""
    return {new.id: new.options.columns["key"] for new in jobs if "key" in new.options.columns}


def enqueue_parts(jobs: Sequence[NewJob], *, asks: bool) -> frozenset[str]:
    """The parts of `enqueue.sql` that jobs need.

    Args:
        jobs: The jobs to insert.
        asks: Whether to notify only where a worker wants news.
    """
    parts = _ASKS if asks else _PLAIN
    return parts | {"keys"} if any("key" in new.options.columns for new in jobs) else parts


def enqueue_params(
    jobs: Sequence[NewJob],
    *,
    keys: Mapping[str, str] | None = None,
    awaited: bool = False,
    joined: bool = False,
    held: bool = False,
) -> dict[str, Any]:
    """The parameters of `enqueue.sql`.

    Args:
        jobs: The jobs to insert.
        keys: The keys of all jobs of the call, by id, where these are only a part of them.
        awaited: Whether somebody is going to wait for them.
        joined: Whether they become part of a transaction of the caller's.
        held: Whether they wait for whoever inserts them, who claims them in the same transaction.
    """
    params = _columns(jobs, _columns_used(jobs))
    params["waits"] = plain(True if held or new.parents else None for new in jobs)
    links = [(new.id, parent) for new in jobs for parent in new.parents]
    if keys is None:
        keys = keys_of(jobs) if links else {}
    params["children"] = plain(child for child, _ in links)
    params["parents"] = plain(parent.id for _, parent in links)
    params["parent_keys"] = quoted(keys.get(parent.id) for _, parent in links)
    params["allow_failure"] = plain(parent.allow_failure for _, parent in links)
    params["awaited"] = awaited
    params["joined"] = joined
    params["sample"] = next((new.id for new in jobs if "key" not in new.options.columns), None)
    return params


def _columns_used(jobs: Iterable[NewJob]) -> set[str]:
    """The columns that options of these jobs come to. Most jobs of a call share their options."""
    different = {id(new.options): new.options.columns for new in jobs}
    return set[str]().union(*different.values())


def _columns(jobs: Sequence[NewJob], used: Set[str]) -> dict[str, Any]:
    """The columns of jobs as arrays, of which those that are not used are empty."""
    params: dict[str, Any] = dict.fromkeys(_OPTIONS, EMPTY)
    for name in used:
        params[name] = _OPTIONS[name]([new.options.columns.get(name) for new in jobs])
    params["id"] = plain([new.id for new in jobs])
    params["function"] = quoted([new.function for new in jobs])
    params["payload"] = quoted([new.payload for new in jobs])
    return params


_OWN_PARTS = {"priority": "priority", "max_attempts": "attempts", "key": "key", "delay": "later", "at": "later"}
_PARTS = {name: _OWN_PARTS.get(name, "more") for name in _OPTIONS if name != "queue"}
"""The part of `enqueue_one.sql` that takes a column; the queue is always in it."""

_PLAIN: frozenset[str] = frozenset()
_ASKS = frozenset(["asks"])
_DECIDED = frozenset(["later", "more"])
"""With these, the database decides what the client cannot know."""


def enqueue_one_parts(new: NewJob, *, awaited: bool = False, asks: bool = True) -> frozenset[str]:
    """The parts of `enqueue_one.sql` that a job needs.

    Args:
        new: The job to insert; it waits for no other job.
        awaited: Whether somebody is going to wait for it.
        asks: Whether to notify only where a worker wants news.
    """
    columns = new.options.columns
    if len(columns) == 1 and not awaited:
        return _ASKS if asks else _PLAIN
    parts = {_PARTS[name] for name in columns if name in _PARTS}
    if not parts.isdisjoint(_DECIDED):
        parts.add("decided")
    if awaited:
        parts.add("awaited")
    if asks:
        parts.add("asks")
    return frozenset(parts)


def enqueue_one_params(new: NewJob) -> dict[str, Any]:
    """The parameters of `enqueue_one.sql`, all of them texts."""
    columns = new.options.columns
    params: dict[str, Any] = {"id": new.id, "function": new.function, "payload": new.payload}
    if len(columns) == 1:
        return {"queue": columns["queue"], **params}
    return {**_NO_OPTIONS, **{name: scalar(value) for name, value in columns.items()}, **params}


_UNDECIDED = frozenset(["key", "delay", "at", "ttl"])
"""Of jobs with these, the database has to tell what became of them."""


def are_ready(jobs: Iterable[NewJob]) -> bool:
    """Whether nothing about these jobs is left to decide, so that `enqueue_ready.sql` can insert them."""
    return not any(new.parents for new in jobs) and _UNDECIDED.isdisjoint(_columns_used(jobs))


def enqueue_ready_parts(jobs: Iterable[NewJob], *, awaited: bool, asks: bool) -> frozenset[str]:
    """The parts of `enqueue_ready.sql` that jobs need.

    Args:
        jobs: The jobs to insert, which are ready.
        awaited: Whether somebody is going to wait for them.
        asks: Whether to notify only where a worker wants news.
    """
    parts = {_PARTS[name] for name in _columns_used(jobs) if name in _PARTS}
    if awaited:
        parts.add("awaited")
    return frozenset(parts | _ASKS if asks else parts)


def enqueue_ready_params(jobs: Sequence[NewJob]) -> dict[str, Any]:
    """The parameters of `enqueue_ready.sql`."""
    params = _columns(jobs, _columns_used(jobs))
    params["queues"] = quoted({new.options.columns["queue"] for new in jobs})
    return params


def ready_jobs(jobs: Iterable[NewJob], row: Sequence[Any]) -> list[Job | None]:
    """The jobs that `enqueue_ready.sql` has inserted: all of them.

    Args:
        jobs: The jobs.
        row: The row of the statement.
    """
    _announced, enqueued_at = row
    now = utc(enqueued_at)
    return [new.inserted(JobStatus.Queued, now, now, None) for new in jobs]


def inserted_job(new: NewJob, decided: Sequence[Any]) -> Job:
    """The job that was inserted.

    Args:
        new: The job.
        decided: The row of `enqueue_one.sql`; what comes after the id in one of `enqueue.sql`.
    """
    _announced, enqueued_at, *more = decided
    now = utc(enqueued_at)
    if not more:
        return new.inserted(JobStatus.Queued, now, now, None)
    status, scheduled_at, expires_at = more
    due = now if scheduled_at == enqueued_at else utc(scheduled_at)
    return new.inserted(_STATUSES[status], due, now, expires_at and utc(expires_at))


def inserted_jobs(jobs: Iterable[NewJob], rows: Iterable[Sequence[Any]]) -> list[Job | None]:
    """The jobs that were inserted; None for one that was left out because of its key.

    Args:
        jobs: The jobs.
        rows: The rows of `enqueue.sql`.

    Raises:
        JobNotFound: One depends on a job that does not exist. None has been inserted.
    """
    decided: dict[str, Sequence[Any]] = {}
    for identifier, *row in rows:
        if row[2] == "missing":
            raise JobNotFound(identifier)
        decided[identifier] = row
    if not decided:
        return [None for _ in jobs]
    # One statement, one moment. What has no row of its own is ready since then, or has a key and was left out.
    now = utc(next(iter(decided.values()))[1])
    return [
        inserted_job(new, decided[new.id])
        if new.id in decided
        else None
        if "key" in new.options.columns
        else new.inserted(JobStatus.Queued, now, now, None)
        for new in jobs
    ]


_JOB_ID = itemgetter(0)
_COMPLETE = JobStatus.Complete
_OVER = frozenset(status.value for status in TERMINAL)


class Settlement(NamedTuple):
    """One attempt that is over, and what it comes to.

    Attributes:
        job_id: The job.
        worker_id: The worker that the attempt belonged to.
        attempt: Number of the attempt.
        outcome: What becomes of the job.
        max_memory: Bytes that the process of the attempt took up at most, if it had one of its own.
        is_plain: Whether `settle_complete.sql` is enough: the job has succeeded, and nothing follows from that.
        is_grouped: Whether the job has a group.
    """

    job_id: str
    worker_id: str
    attempt: int
    outcome: Outcome
    max_memory: int | None = None
    is_plain: bool = False
    is_grouped: bool = False

    @property
    def key(self) -> tuple[str, int]:
        """The job and the number of the attempt, which no other settlement has."""
        return self.job_id, self.attempt

    @classmethod
    def of(cls, claimed: Claimed, outcome: Outcome, max_memory: int | None = None) -> Settlement:
        """The settlement of a claimed job's attempt."""
        is_plain = (
            outcome.status is _COMPLETE
            and outcome.repeat_delay is None
            and max_memory is None
            and claimed.on_success is None
        )
        is_grouped = claimed.group_key is not None
        return cls(claimed.id, claimed.worker_id, claimed.attempts, outcome, max_memory, is_plain, is_grouped)


class Settled(NamedTuple):
    """What became of a job: a row of `settle.sql`, or the first two columns, which are all that others return.

    Attributes:
        job_id: The job.
        attempt: Number of the attempt.
        status: The status that the job has now.
        removable: Whether its row is not to be kept.
        grouped: Whether it has a group, in which another job may run now.
        owing: Whether a callback has to be called because of it.
        announced: How many notifications the whole statement sent.
    """

    job_id: str
    attempt: int
    status: str = JobStatus.Complete.value
    removable: bool = False
    grouped: bool = False
    owing: bool = False
    announced: int = 0

    @property
    def key(self) -> tuple[str, int]:
        """As that of its settlement."""
        return self.job_id, self.attempt

    @property
    def is_over(self) -> bool:
        """Whether the job has ended, and not just the attempt."""
        return self.status in _OVER


def settle_params(settlements: Iterable[Settlement], *, callback_secs: float | None = None) -> dict[str, Any]:
    """The parameters of `settle.sql`. They are in the order of the ids, which is the order of locking.

    Args:
        settlements: The attempts that are over.
        callback_secs: For how many seconds callbacks are left to whoever settles; None tells the workers of them.
    """
    ordered = sorted(settlements, key=_JOB_ID)
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
        "max_memory": plain(settlement.max_memory for settlement in ordered),
        "callback_secs": callback_secs,
    }


def settle_complete_params(settlements: Iterable[Settlement]) -> dict[str, Any]:
    """The parameters of `settle_complete.sql`, in the order of the ids; all of the settlements are one worker's."""
    ordered = sorted(settlements, key=_JOB_ID)
    return {
        "id": plain(settlement.job_id for settlement in ordered),
        "attempt": plain(settlement.attempt for settlement in ordered),
        "result": quoted(settlement.outcome.result for settlement in ordered),
        "worker_id": ordered[0].worker_id,
    }


_WITH_GROUPS, _WITHOUT_GROUPS = frozenset(["groups"]), frozenset[str]()


def settle_complete_parts(settlements: Iterable[Settlement]) -> frozenset[str]:
    """The parts of `settle_complete.sql` that settlements need."""
    return _WITH_GROUPS if any(settlement.is_grouped for settlement in settlements) else _WITHOUT_GROUPS


def fence_params(settlements: Iterable[Settlement]) -> dict[str, Any]:
    """The parameters of `fenced.sql`."""
    ordered = list(settlements)
    return {
        "id": plain(settlement.job_id for settlement in ordered),
        "worker_id": plain(settlement.worker_id for settlement in ordered),
        "attempt": plain(settlement.attempt for settlement in ordered),
    }
