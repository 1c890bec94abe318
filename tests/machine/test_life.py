"""The life of jobs: whatever is done to them, in whatever order, the tables are what the model says.

A hypothesis state machine does to jobs what clients and workers do, in any order, and compares all that is in the
tables with a model after each step; and it checks in SQL what must be true whatever the model says. Time does not pass
by itself: steps move what is in the tables into the past. Deaths are steps as well: somebody sends so many statements,
and no more.

Each run does the same, so that nobody's change is stopped by what has nothing to do with it. To search further, say how
many lives are to be tried, in any order that comes up: `PGWERK_TEST_LIVES=5000 pytest tests/machine`. What is printed
for a failure is a program of the fewest steps found, and the decorator for `LifeOfJobs` that repeats it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test
from tests.machine import choices
from tests.machine.bench import Bench
from tests.machine.choices import Deed, Draft, Step
from tests.machine.hands import Hands
from tests.machine.model import DAY
from tests.machine.values import OVER, UNSTARTED

LIVES = int(os.environ.get("PGWERK_TEST_LIVES", "0"))

SETTINGS = settings(
    max_examples=LIVES or 150,
    stateful_step_count=50,
    derandomize=not LIVES,
    database=None,
    deadline=None,
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


class LifeOfJobs(Hands):
    """What clients and workers do."""

    @initialize(batch=choices.batches())
    def begin(self, batch: Sequence[Draft]) -> None:
        """There are some jobs to begin with."""
        self.enqueue_many("echo", batch)

    @rule(step=choices.steps())
    def take(self, step: Step) -> None:
        """Take a step: one of the methods below."""
        name, arguments = step
        getattr(self, name)(**arguments)

    @invariant()
    def check(self) -> None:
        self.compare()

    # Clients enqueue

    def enqueue(self, function: str, batch: Sequence[Draft], how: str) -> None:
        """Jobs that may depend on each other, and on those that are there."""
        if how == "together":
            self.enqueue_many(function, batch)
        elif how == "alone" or self.open is not None:
            self.enqueue_one(function, *batch[0])
        else:
            self.enqueue_in_transaction(function, *batch[0])

    def end_transaction(self, how: str) -> None:
        """The transaction ends; if it is committed, and there is a worker, it sees to the job."""
        self.commit(how)

    # Workers work

    def start(self, worker: str, limit: int) -> None:
        """A worker claims jobs."""
        self.claim(worker, limit)

    def run(self, worker: str, outcomes: Sequence[str], event: Deed | None) -> None:
        """A worker claims jobs, ends them, and sees to what follows, unless it dies; or a client gets in between."""
        self.settle(list(zip(self.claim(worker, len(outcomes)), outcomes, strict=False)), event)

    def end(self, ends: Sequence[tuple[str, str]], event: Deed | None) -> None:
        """As above, with attempts that have gone on for a while, and may have been taken away from their worker."""
        self.settle(ends, event)

    def settle_again(self, attempt: str) -> None:
        """What has been settled is sent once more, because the answer was lost: it changes nothing."""
        assert [] == self.bench.settle([self.spent[attempt]])

    def keep_up(self, deed: Deed) -> None:
        """A worker looks after itself and others, or is lost."""
        match deed:
            case ("sweep",):
                assert sorted(self.model.sweep()) == sorted(self.app.sweep())
            case ("rescue",):
                self.rescue()
            case ("promote",):
                assert self.model.promote_due() == self.bench.promote_due()
            case ("beat", worker):
                self.beat(worker)
            case (how, worker, is_noticed):
                self.lose_worker(worker, how)
                if is_noticed:
                    self.rescue()

    # Clients manage jobs

    def manage(self, deed: Deed) -> None:
        """A client does something to one job."""
        what, name = deed
        job_id = self.model.names[name]
        match what:
            case "cancel":
                assert self.model.cancel(job_id) == self.app.cancel_job(job_id)
            case "requeue":
                assert self.model.requeue(job_id) == self.app.requeue_job(job_id)
            case "abort":
                assert self.model.abort(job_id) == self.app.abort_job(job_id)
            case "delete":
                self.model.delete(job_id)
                self.app.delete_job(job_id)
            case "touch":
                self.model.touch(job_id)
                self.app.touch_job(job_id)
            case "wait for":
                self.model.wait_for(job_id)
                self.bench.mark_as_awaited(job_id)

    def manage_many(self, deed: Deed) -> None:
        """A client does something to many jobs."""
        match deed:
            case ("requeue", queue, function):
                path = function and f"tests.handlers.{function}"
                assert self.model.bulk_requeue(queue, path) == self.app.bulk_requeue_jobs(queue, path)
            case ("cancel", queue):
                assert self.model.bulk_cancel(queue) == self.app.bulk_cancel_jobs(queue)
            case ("purge", statuses, secs):
                assert self.model.purge(statuses, secs) == self.app.purge_jobs(statuses, secs / DAY)

    def manage_and_die(self, deed: Deed, left: int) -> None:
        """A client dies while it does something, after so many statements."""
        what, name = deed
        job_id = self.model.names.get(name, "")
        match what:
            case "cancel":
                self.may_die(left, self.bench.managing("cancel", job_id), lambda model: model.cancel(job_id))
            case "requeue":
                act = self.bench.managing("requeue", job_id)
                self.may_die(left, act, lambda model: model.requeue(job_id), passing=["waiting"])
            case "delete":
                self.may_die(left, self.bench.managing("delete", job_id), lambda model: model.delete(job_id))
            case "purge":
                self.may_die(left, self.bench.managing("purge", OVER, 0), lambda model: model.purge(OVER, 0))
            case "sweep":
                self.may_die(left, self.bench.sweep, lambda model: model.sweep(), passing=(*UNSTARTED, *OVER))

    # Clients read

    def read(self, job: str, queue: str | None, status: str | None, newest_first: bool) -> None:
        """What there is to read about a job is what has happened to it, and lists have what was asked for."""
        self.read_one(job)
        fitting = [
            job.id for job in self.model.jobs.values() if queue in {None, job.queue} and status in {None, job.status}
        ]
        found = self.app.list_jobs(queue=queue, status=status, limit=5, newest_first=newest_first)
        assert sorted(fitting, reverse=newest_first)[:5] == [job.id for job in found]

    # Time passes

    def time_passes(self, job: str | None, secs: int) -> None:
        """Time passes, for one job or for all."""
        if job is None:
            self.let_pass(secs, list(self.model.jobs.values()), list(self.model.workers))
        elif (found := self.model.get(job)) is not None:
            self.let_pass(secs, [found])


@pytest.fixture
def bench(dsn: str) -> Iterator[Bench]:
    with Bench(dsn) as bench:
        yield bench


@pytest.mark.timeout(600 + LIVES)
def test_life_of_jobs(bench: Bench) -> None:
    """Whatever clients and workers do, in whatever order, jobs are what they should be."""
    LifeOfJobs.bench = bench
    run_state_machine_as_test(LifeOfJobs, settings=SETTINGS)
