"""The life of jobs as it should be: a model in plain Python, obvious and slow.

It knows nothing of statements, locks and batches: jobs are objects in a dictionary, and what happens to them is written
down as the documentation tells it. One thing it shares with the library, because it can be seen from outside: jobs that
wait are judged when somebody looks at them, and whoever dies before that leaves it to the next sweep.

The model has no clock either. What happens in a step gets the time `After(secs)`, so many seconds after a moment of
that step which the database chooses; the comparison with the tables puts the moment in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from attrs import evolve, frozen
from tests.machine.values import (
    ATTEMPT_TIMES,
    COLUMNS,
    OVER,
    TIMES,
    UNSTARTED,
    After,
    Attempt,
    Begins,
    Job,
    Text,
    Time,
    Worker,
    plus,
)

from pgwerk import Repeat, Retry

AWAITED_SECS = 60
"""The least time for which a row stays that somebody waits for."""
MAX_ACTIVE_SECS = 3600
"""Seconds after which a running job that nothing was heard of counts as stuck."""
DAY = 86400


@frozen
class Ended:
    """What the settling of an attempt came to."""

    status: str
    is_removable: bool


class Model:
    """All jobs and workers.

    Attributes:
        now: The moment before the current step.
        jobs: The jobs, by id.
        names: The id of each job that there ever was, by its name.
        workers: The workers that have a row, by id.
        pinned: Jobs that an open transaction keeps from being deleted, because it inserts a child of theirs.
        unseen: Jobs that wait for nothing any more, which nobody has seen to because somebody died.
        expected: Jobs whose ids the database chooses: next runs, in the order of those ids.
    """

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.jobs: dict[str, Job] = {}
        self.names: dict[str, str] = {}
        self.workers: dict[str, Worker] = {}
        self.pinned: set[str] = set()
        self.unseen: set[str] = set()
        self.expected: list[Job] = []

    # What the machine asks

    def named(self, *statuses: str) -> list[str]:
        """The names of the jobs that have one of these statuses."""
        return [job.name for job in self.jobs.values() if job.status in statuses]

    def get(self, name: object) -> Job | None:
        """A job by its name, if it is still there."""
        return self.jobs.get(self.names[str(name)])

    def is_past(self, time: Time) -> bool:
        """Whether a time has come, in a statement of the current step."""
        if isinstance(time, After):
            return time.secs <= 0
        return time is not None and time <= self.now

    def decidable(self) -> list[Job]:
        """The jobs that wait although nothing is left to wait for."""
        return [job for job in self.jobs.values() if job.status == "waiting" and self._verdict(job) is not None]

    def somebody_dies(self) -> None:
        """Whoever should have seen to these jobs has died; a sweep does it."""
        self.unseen |= {job.id for job in self.decidable()}

    # Enqueueing

    def name(self) -> str:
        """A name for one more job."""
        return f"j{len(self.names) + 1}"

    def add(self, job: Job) -> None:
        """A job is there."""
        self.jobs[job.id] = job
        self.names[job.name] = job.id

    def draft(self, job_id: str, function: str, options: dict[str, Any]) -> Job:
        """A job as it is before it is enqueued."""
        options = dict(options)
        repeat: Repeat | None = options.pop("repeat", None)
        retry: int | Retry = options.pop("retry", 1)
        at: Time = options.pop("at", None)
        due = After(options.pop("delay", 0)) if at is None else at
        draft = Job(name="", id=job_id, function=function, retry=retry, scheduled_at=due)
        draft.attempts_per_round = draft.max_attempts = retry.max if isinstance(retry, Retry) else retry
        draft.group_key = options.pop("group", None)
        draft.heartbeat_secs = options.pop("heartbeat", None)
        if repeat is not None:
            draft.repeat_remaining, draft.repeat_interval_secs = repeat.times, repeat.interval
            draft.repeat_intervals = repeat.intervals
        for option, value in options.items():
            if option in COLUMNS:
                setattr(draft, option, value)
        if draft.ttl is not None:
            draft.expires_at = plus(After() if self.is_past(due) else due, draft.ttl)
        return draft

    def holder(self, key: str | None, before: Iterable[Job] = ()) -> Job | None:
        """The job that has a key, be it one of those that are just being inserted."""
        return next((job for job in (*self.jobs.values(), *before) if key is not None and job.key == key), None)

    def enqueue(self, draft: Job) -> bool:
        """Insert a job with the parents that it has; False if its key exists already."""
        if self.holder(draft.key) is not None:
            return False
        draft.name = self.name()
        if draft.parents:
            draft.status = "waiting"
        elif not self.is_past(draft.scheduled_at):
            draft.status = "scheduled"
        self.add(draft)
        return True

    # Claiming and settling

    def claim(self, worker_id: str, queues: Sequence[str], limit: int) -> list[str]:
        """Claim the best jobs; returns their ids, the best one first."""
        busy = {job.group_key for job in self.jobs.values() if job.is_running and job.group_key is not None}
        claimed: list[str] = []
        for job in sorted(self.jobs.values(), key=_rank):
            is_ready = job.status == "queued" and job.queue in queues and not self.is_past(job.expires_at)
            if not is_ready or job.group_key in busy or len(claimed) == limit:
                continue
            if job.group_key is not None:
                busy.add(job.group_key)
            job.status, job.worker_id, job.attempts = "active", worker_id, job.attempts + 1
            job.started_at = job.touched_at = After()
            job.expires_at = None
            claimed.append(job.id)
        return claimed

    def settle(self, job_id: str, worker_id: str, attempt: int, outcome: str, text: str) -> Ended | None:
        """End an attempt with a result or an error; None when it is no longer the job's."""
        job = self.jobs.get(job_id)
        if job is None or job.is_over or (job.worker_id, job.attempts) != (worker_id, attempt):
            return None
        if outcome == "given back" and job.status != "aborting":
            job.attempts -= 1
            self._back(job, "queued", After(job.ttl) if job.ttl is not None and job.attempts == 0 else None)
            return Ended("queued", False)
        error: Text = None if outcome in {"success", "given back"} else text
        if job.status == "aborting" and error is None:
            error = Begins("aborted on request")
        how = "aborted" if job.status == "aborting" else "complete" if outcome == "success" else "failed"
        job.history.append(Attempt(attempt, how, worker_id, error, job.started_at))
        job.error = error
        if how == "failed" and outcome != "hopeless" and job.attempts < job.max_attempts:
            delay = 0 if outcome == "lost" else job.retry_delay
            if delay:
                job.scheduled_at = After(delay)
            self._back(job, "scheduled" if delay else "queued", None)
            return Ended(job.status, False)
        if how == "complete":
            job.result = text
            self._repeat(job)
        return Ended(how, self._end(job, how))

    def beat(self, worker_id: str, running: Iterable[str]) -> None:
        """A worker gives a sign of life, for itself and for jobs that it believes to run."""
        self.workers[worker_id] = Worker(After())
        for job_id in running:
            job = self.jobs.get(job_id)
            if job is not None and job.worker_id == worker_id:
                self.touch(job_id)

    def let_pass(self, secs: float, jobs: Iterable[Job], worker_ids: Iterable[str]) -> None:
        """Let so many seconds pass for jobs and workers."""
        for job in jobs:
            for each, times in ((job, TIMES), *((attempt, ATTEMPT_TIMES) for attempt in job.history)):
                for time in times:
                    setattr(each, time, plus(getattr(each, time), -secs))
        for worker_id in worker_ids:
            worker = self.workers[worker_id]
            worker.heartbeat_at = plus(worker.heartbeat_at, -secs)

    # Managing

    def cancel(self, job_id: str) -> bool:
        job = self.jobs.get(job_id)
        if job is None or job.status not in UNSTARTED:
            return False
        self._cancel(job)
        self.see_to(ended=[job_id])
        return True

    def requeue(self, job_id: str) -> bool:
        job = self.jobs.get(job_id)
        if job is None or job.status not in {"failed", "aborted"}:
            return False
        self._requeue([job])
        self.see_to(waiting=[job_id])
        return True

    def abort(self, job_id: str) -> bool:
        job = self.jobs.get(job_id)
        if job is None or not job.is_running:
            return False
        job.status = "aborting"
        return True

    def delete(self, job_id: str) -> None:
        # If it has ended, and nobody has seen to its children: they hear how it ended.
        self.see_to(ended=[job_id])
        job = self.jobs.get(job_id)
        if job is None:
            return
        failed = (
            [] if job.status == "complete" else [child for child in self.children(job_id) if not child.parents[job_id]]
        )
        removable = [child.id for child in failed if self._fail_for(child, job)]
        freed = self._drop(job)
        self.see_to(ended=[child.id for child in failed], waiting=freed, removable=removable)

    def bulk_cancel(self, queue: str | None) -> int:
        unstarted = [job for job in self._of(queue) if job.status in UNSTARTED]
        for job in unstarted:
            self._cancel(job)
        self.see_to(ended=[job.id for job in unstarted])
        return len(unstarted)

    def bulk_requeue(self, queue: str | None, function: str | None) -> int:
        def fits(job: Job) -> bool:
            fits_filter = queue in {None, job.queue} and function in {None, job.function}
            return fits_filter and job.status in {"failed", "aborted"}

        def requeue(jobs: list[Job]) -> int:
            self._requeue(jobs)
            self.see_to(waiting=[job.id for job in jobs])
            return len(jobs)

        return sum(map(requeue, self._walk(fits)))

    def purge(self, statuses: Sequence[str], secs: float) -> int:
        def fits(job: Job) -> bool:
            return job.status in statuses and self.is_past(plus(job.completed_at, secs))

        return sum(len(self._remove(jobs, fits)) for jobs in self._walk(fits))

    def touch(self, job_id: str) -> None:
        job = self.jobs.get(job_id)
        if job is not None and job.is_running:
            job.touched_at = After()

    def wait_for(self, job_id: str) -> None:
        job = self.jobs.get(job_id)
        if job is not None and not job.is_over:
            job.awaited = True

    # Sweeping

    def sweep(self) -> list[str]:
        rescued = self.rescue()
        self.promote_due()
        late = [job for job in self.jobs.values() if job.status in UNSTARTED and self.is_past(job.expires_at)]
        for job in late:
            self._end_unstarted(job, "aborted", Begins("expired"))
        self.see_to(ended=[job.id for job in late])
        looked_at: set[str] = set()
        while found := [job for job in self.jobs.values() if self._is_kept_enough(job) and job.id not in looked_at]:
            looked_at |= {job.id for job in found}
            self._remove(found, self._is_kept_enough)
        self.see_to(waiting=self.jobs)
        self._forget_workers()
        self.unseen.clear()
        return rescued

    def rescue(self) -> list[str]:
        """End the attempts of orphaned jobs; returns the ids of those that can be claimed again."""
        ended: dict[str, Ended] = {}
        for job in list(self.jobs.values()):
            if job.is_running and (reason := self._orphaned(job)) is not None:
                text = f"attempt {job.attempts} on worker {job.worker_id} did not end: {reason}"
                came_to = self.settle(job.id, str(job.worker_id), job.attempts, "lost", text)
                assert came_to is not None
                ended[job.id] = came_to
        self.follow(ended)
        return [job_id for job_id, each in ended.items() if each.status == "queued"]

    def promote_due(self) -> int:
        due = [job for job in self.jobs.values() if job.status == "scheduled" and self.is_past(job.scheduled_at)]
        for job in due:
            job.status = "queued"
        return len(due)

    # What follows when jobs have ended

    def follow(self, settled: dict[str, Ended]) -> None:
        """See to what follows from settled attempts."""
        self.see_to(
            ended=[job_id for job_id, each in settled.items() if each.status in OVER],
            removable=[job_id for job_id, each in settled.items() if each.is_removable],
        )

    def see_to(self, *, ended: Iterable[str] = (), waiting: Iterable[str] = (), removable: Iterable[str] = ()) -> None:
        """Judge jobs that wait, and the children of those that have ended; then remove rows that are not kept."""
        ended, waiting, removable = set(ended), set(waiting), set(removable)
        suspects: set[str] | None = None
        while waiting or ended or removable:
            if waiting:
                failed = self._judge(waiting, suspects)
                ended |= {job.id for job in failed}
                removable |= {job.id for job in failed if self._is_removable(job)}
                waiting = set()
            elif ended:
                waiting = {child.id for job_id in ended for child in self.children(job_id)}
                suspects, ended = ended, set()
            else:
                waiting = {
                    child for job_id in removable for child in self._drop_ended(job_id, self._has_failed_for_good)
                }
                suspects, removable = None, set()

    def children(self, job_id: str) -> list[Job]:
        """The jobs that wait for this one."""
        return [job for job in self.jobs.values() if job.status == "waiting" and job_id in job.parents]

    def _judge(self, looked_at: Iterable[str], suspects: Collection[str] | None) -> list[Job]:
        """Release or fail those of these jobs that wait for nothing any more; returns those that failed."""
        waiting = [self.jobs[job_id] for job_id in looked_at if job_id in self.jobs]
        verdicts = [(job, self._verdict(job, suspects)) for job in waiting if job.status == "waiting"]
        for job, verdict in verdicts:
            if isinstance(verdict, Job):
                self._fail_for(job, verdict)
            elif verdict == "free":
                job.status = "queued" if self.is_past(job.scheduled_at) else "scheduled"
        return [job for job, verdict in verdicts if isinstance(verdict, Job)]

    def _verdict(self, job: Job, suspects: Collection[str] | None = None) -> Job | str | None:
        """The parent for which a job that waits must fail, "free" if it need not wait any more, None if it must.

        As long as it has to wait for another one, only the suspects are looked at; None suspects all.
        """
        parents = [(self.jobs[job_id], may_fail) for job_id, may_fail in sorted(job.parents.items())]
        must_wait = any(not parent.is_over for parent, _ in parents)
        for parent, may_fail in parents:
            is_suspect = not must_wait or suspects is None or parent.id in suspects
            if parent.status in {"failed", "aborted"} and not may_fail and is_suspect:
                return parent
        return None if must_wait else "free"

    def _fail_for(self, job: Job, parent: Job) -> bool:
        return self._end_unstarted(job, "failed", Begins(f"dependency failed: job {parent.id} "))

    # Steps that all of this is made of

    def _of(self, queue: str | None) -> list[Job]:
        return [job for job in self.jobs.values() if queue in {None, job.queue}]

    def _walk(self, fits: Callable[[Job], bool]) -> Iterable[list[Job]]:
        """Jobs for which something is true, from id to id; one that it becomes true of on the way is met, or not."""
        after = ""
        while found := sorted(
            (job for job in self.jobs.values() if job.id > after and fits(job)), key=lambda job: job.id
        ):
            after = found[-1].id
            yield found

    def _back(self, job: Job, status: str, expires_at: Time) -> None:
        """A running job goes back to those that have not started."""
        job.status, job.expires_at = status, expires_at
        job.worker_id = job.started_at = job.touched_at = None

    def _cancel(self, job: Job) -> None:
        self._end_unstarted(job, "aborted", Begins("cancelled"))

    def _end_unstarted(self, job: Job, status: str, error: Text) -> bool:
        job.error = error
        return self._end(job, status)

    def _end(self, job: Job, status: str) -> bool:
        """A job ends; returns whether its row is to be removed at once."""
        job.status, job.completed_at = status, After()
        kept = job.result_ttl if status == "complete" else job.failure_ttl
        if status == "failed" and job.failure_mode == "delete":
            kept = 0
        if kept is not None and job.awaited:
            kept = max(kept, AWAITED_SECS)
        job.expires_at = None if kept is None else After(kept)
        return self._is_removable(job)

    def _is_removable(self, job: Job) -> bool:
        return job.failure_mode == "delete" and self._is_kept_enough(job)

    def _has_failed_for_good(self, job: Job) -> bool:
        return job.status == "failed" and self._is_kept_enough(job)

    def _is_kept_enough(self, job: Job) -> bool:
        return job.is_over and self.is_past(job.expires_at)

    def _repeat(self, job: Job) -> None:
        """The next run of a job that has succeeded takes over its key."""
        if not job.repeat_remaining:
            return
        intervals = job.repeat_intervals
        delay = intervals[0] if intervals else job.repeat_interval_secs or 0
        following = evolve(
            job,
            name="",
            id="",
            status="scheduled" if delay else "queued",
            attempts=0,
            max_attempts=job.attempts_per_round,
            scheduled_at=After(delay),
            enqueued_at=After(),
            expires_at=None if job.ttl is None else After(delay + job.ttl),
            repeat_remaining=job.repeat_remaining - 1,
            repeat_intervals=intervals[1:] if intervals and len(intervals) > 1 else intervals,
            awaited=False,
            parents={},
            history=[],
            result=None,
            error=None,
            started_at=None,
            completed_at=None,
            touched_at=None,
            worker_id=None,
        )
        job.key = None
        self.expected.append(following)

    def _requeue(self, jobs: Sequence[Job]) -> None:
        """Failed and aborted jobs get one more round of attempts; those that depend on each other wait again."""
        for job in jobs:
            job.max_attempts = job.attempts + job.attempts_per_round
            job.scheduled_at = After()
            job.expires_at = After(job.ttl) if job.ttl is not None and job.attempts == 0 else None
            job.status, job.error, job.completed_at = "queued", None, None
            job.worker_id = job.started_at = job.touched_at = None
        for job in jobs:
            if any(not self.jobs[parent].is_over for parent in job.parents):
                job.status = "waiting"

    def _drop(self, job: Job) -> list[str]:
        """Delete a job; returns the ids of those that need not wait for it any more."""
        freed = self.children(job.id)
        del self.jobs[job.id]
        for other in self.jobs.values():
            other.parents.pop(job.id, None)
        return [child.id for child in freed]

    def _drop_ended(self, job_id: str, fits: Callable[[Job], bool]) -> list[str]:
        """Delete a job that has ended, unless a child must fail for it first, or an open transaction inserts one."""
        job = self.jobs.get(job_id)
        if job is None or not fits(job) or job_id in self.pinned:
            return []
        if job.status != "complete" and any(not child.parents[job_id] for child in self.children(job_id)):
            return []
        return self._drop(job)

    def _remove(self, jobs: Sequence[Job], fits: Callable[[Job], bool]) -> list[Job]:
        """Delete jobs that have ended, when their children have been seen to, if they still fit; returns those."""
        self.see_to(ended=[job.id for job in jobs])
        freed = {child for job in jobs for child in self._drop_ended(job.id, fits)}
        self.see_to(waiting=freed)
        return [job for job in jobs if job.id not in self.jobs]

    def _orphaned(self, job: Job) -> str | None:
        """Why a running job is an orphan; None if it is none."""
        worker = self.workers.get(str(job.worker_id))
        if worker is None or worker.is_lost:
            return "its worker was lost"
        if job.heartbeat_secs is not None and self.is_past(plus(job.touched_at, job.heartbeat_secs)):
            return "its heartbeat stopped"
        signs = (job.started_at, job.touched_at, worker.heartbeat_at)
        if all(self.is_past(plus(sign, MAX_ACTIVE_SECS)) for sign in signs):
            return "nothing was heard of it"
        return None

    def _forget_workers(self) -> None:
        busy = {job.worker_id for job in self.jobs.values() if job.is_running}
        for worker_id, worker in list(self.workers.items()):
            if worker_id not in busy and self.is_past(plus(worker.heartbeat_at, DAY)):
                del self.workers[worker_id]


def _rank(job: Job) -> tuple[Any, ...]:
    return -job.priority, job.scheduled_at, job.id
