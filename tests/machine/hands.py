"""What the machine's steps are made of: something is done to the tables and to the model, and the two are compared."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

import pytest
from hypothesis.stateful import RuleBasedStateMachine
from tests.machine.bench import Bench, die
from tests.machine.choices import FUNCTIONS, WORKERS, Deed, Draft, Options, Parents
from tests.machine.comparing import adopt, differences
from tests.machine.model import DAY, Ended, Model
from tests.machine.values import OVER, Job, plus

from pgwerk import Dependency, EnqueueParams, JobNotFound, SyncWerk
from pgwerk import Job as Found
from pgwerk._core.claimed import Claimed
from pgwerk._core.ids import new_id
from pgwerk._core.inserts import Settlement
from pgwerk._core.policy import Outcome, after_failure, after_success, given_back


class Hands(RuleBasedStateMachine):
    """A machine without rules.

    Attributes:
        worker_ids: The ids of the workers, by name.
        bench: The tables; set before hypothesis makes the machines.
        app: A client of them.
        model: What they should be.
        attempts: What workers believe to run, by name.
        spent: What they have settled, by the name of the attempt.
        open: The job that somebody inserts in a transaction which is still open.
    """

    worker_ids: ClassVar = {name: f"00000000-0000-4000-8000-{number:012}" for number, name in enumerate(WORKERS, 1)}
    bench: ClassVar[Bench]

    def __init__(self) -> None:
        super().__init__()
        self.bench.empty()
        self.app: SyncWerk = self.bench.app
        self.model: Model = Model(self.bench.read().now)
        self.attempts: dict[str, Claimed] = {}
        self.spent: dict[str, Settlement] = {}
        self.open: Job | None = None

    def teardown(self) -> None:
        self.bench.transaction.rollback()

    def compare(self) -> None:
        """See that the tables keep every promise, and are what the model says."""
        tables = self.bench.read()
        assert [] == [(promise, self.name_of(job_id)) for promise, job_id in tables.violations]
        assert set() == {self.name_of(job_id) for job_id in tables.decidable - self.model.unseen}
        assert [] == differences(self.model, tables)
        self.model.now = tables.now

    def name_of(self, job_id: str) -> str:
        """The name of a job."""
        return next((name for name, known in self.model.names.items() if known == job_id), job_id)

    # Enqueueing

    def options(self, options: Options) -> Options:
        """The options as the client takes them; a key that an open transaction has would have to be waited for."""
        options = dict(options)
        if self.open is not None and options.get("key") == self.open.key:
            options.pop("key", None)
        if "at" in options:
            options["at"] = plus(self.model.now, options["at"])
        return options

    def enqueue_one(self, function: str, options: Options, parents: Parents) -> None:
        options, parents = self.options(options), self.outside(parents)
        given = {f"_{name}": value for name, value in options.items()}
        given["_depends_on"] = [Dependency(self.model.names[name], may_fail) for name, may_fail in parents]
        if any(self.model.get(name) is None for name, _ in parents):
            with pytest.raises(JobNotFound):
                self.app.enqueue(FUNCTIONS[function], **given)
            return
        made = self.app.enqueue(FUNCTIONS[function], **given)
        self.insert(self.drafts(function, [(options, parents)], [made]), [made])

    def enqueue_many(self, function: str, batch: Sequence[Draft]) -> None:
        batch = [(self.options(options), parents) for options, parents in batch]
        specs: list[EnqueueParams] = []
        for options, parents in batch:
            dependencies = [
                Dependency(self.model.names[parent] if isinstance(parent, str) else specs[parent], may_fail)
                for parent, may_fail in parents
            ]
            specs.append(EnqueueParams(FUNCTIONS[function], **options, depends_on=dependencies))
        if any(self.model.get(name) is None for _, parents in batch for name, _ in self.outside(parents)):
            with pytest.raises(JobNotFound):
                self.app.enqueue_many(specs)
            return
        made = self.app.enqueue_many(specs)
        self.insert(self.drafts(function, batch, made), made)

    def enqueue_in_transaction(self, function: str, options: Options, parents: Parents) -> None:
        parents = [parent for parent in self.outside(parents) if self.model.get(parent[0]) is not None]
        options = self.options(options)
        made = self.app.enqueue(
            FUNCTIONS[function],
            **{f"_{name}": value for name, value in options.items()},
            _depends_on=[Dependency(self.model.names[name], may_fail) for name, may_fail in parents],
            _conn=self.bench.transaction,
        )
        if made is None:
            assert self.model.holder(options.get("key")) is not None
            self.bench.transaction.rollback()
            return
        (self.open,) = self.drafts(function, [(options, parents)], [made])
        self.open.scheduled_at, self.open.enqueued_at = made.scheduled_at, made.enqueued_at
        self.open.expires_at = made.expires_at
        self.model.pinned = set(self.open.parents)

    def commit(self, how: str) -> None:
        job, self.open = self.open, None
        self.model.pinned = set()
        if how == "rolled back" or job is None:
            self.bench.transaction.rollback()
            return
        self.bench.transaction.commit()
        assert self.model.enqueue(job)
        if how == "seen to":
            self.bench.follow(waiting=[job.id])
            self.model.see_to(waiting=[job.id])
        else:
            self.model.somebody_dies()

    def outside(self, parents: Parents) -> Parents:
        """Those of the parents that are not of the same batch."""
        return [(parent, may_fail) for parent, may_fail in parents if isinstance(parent, str)]

    def drafts(self, function: str, batch: Iterable[Draft], made: Iterable[Found | None]) -> list[Job]:
        """The jobs that the client has enqueued, or would have, were it not for their keys."""
        drafts: list[Job] = []
        meant: list[str] = []
        for (options, parents), job in zip(batch, made, strict=True):
            draft = self.model.draft(new_id() if job is None else job.id, f"tests.handlers.{function}", options)
            for parent, may_fail in parents:
                parent_id = self.model.names[parent] if isinstance(parent, str) else meant[parent]
                # Two parents may mean the same job; then the stricter of the two counts.
                draft.parents[parent_id] = draft.parents.get(parent_id, True) and may_fail
            holder = self.model.holder(draft.key, drafts)
            meant.append(draft.id if holder is None else holder.id)
            drafts.append(draft)
        return drafts

    def insert(self, drafts: Iterable[Job], made: Sequence[Found | None]) -> None:
        inserted = [draft.id for draft in drafts if self.model.enqueue(draft)]
        assert inserted == [job.id for job in made if job is not None]
        self.model.see_to(waiting=inserted)
        for job in made:
            # As long as the row is there, what `enqueue` has returned is what a client reads.
            assert job is None or job.id not in self.model.jobs or job == self.app.get_job(job.id)

    # Working

    def beat(self, worker: str) -> None:
        worker_id = self.worker_ids[worker]
        running = [claimed for claimed in self.attempts.values() if claimed.worker_id == worker_id]
        self.bench.beat(worker_id, WORKERS[worker], running)
        self.model.beat(worker_id, [claimed.id for claimed in running if claimed.heartbeat_secs is not None])

    def claim(self, worker: str, limit: int) -> list[str]:
        """Have a worker claim jobs; returns the names of the attempts."""
        self.beat(worker)
        worker_id, queues = self.worker_ids[worker], WORKERS[worker]
        claimed = self.bench.claim(worker_id, queues, limit)
        assert self.model.claim(worker_id, queues, limit) == [each.id for each in claimed]
        names = [f"{self.name_of(each.id)}/{each.attempts}@{worker}" for each in claimed]
        self.attempts.update(zip(names, claimed, strict=True))
        return names

    def settle(self, ends: Sequence[tuple[str, str]], event: Deed | None) -> None:
        """Have attempts settled, and what follows seen to; the event happens on the way."""
        settlements = []
        expected: dict[str, Ended] = {}
        for name, outcome in sorted(ends, key=lambda end: self.attempts[end[0]].id):
            claimed = self.attempts.pop(name)
            attempt = (claimed.id, claimed.worker_id, claimed.attempts)
            settlement = Settlement(*attempt, _outcome(claimed, outcome))
            settlements.append(settlement)
            ended = self.model.settle(*attempt, outcome, "done" if outcome == "success" else "boom")
            if ended is not None:
                expected[claimed.id] = ended
            if outcome != "given back":
                self.spent[name] = settlement
        settled = self.bench.settle(settlements)
        assert expected == {each.job_id: Ended(each.status, bool(each.removable)) for each in settled}
        self._name_next_runs()
        match event:
            case None:
                self.bench.follow(settled)
                self.model.follow(expected)
            case (left, "death"):
                self.may_die(left, lambda: self.bench.follow(settled), lambda model: model.follow(expected))
            case (left, "cancel", name):
                self._cancel_meanwhile(left, name, lambda: self.bench.follow(settled))
            case (left, "requeue", name):
                self._requeue_meanwhile(left, name, lambda: self.bench.follow(settled))

    def lose_worker(self, worker: str, how: str) -> None:
        """The lease of a worker runs out, or its row is lost."""
        worker_id = self.worker_ids[worker]
        if worker_id not in self.model.workers:
            return
        if how == "lapse":
            self.model.workers[worker_id].is_lost = True
            self.bench.lapse(worker_id)
            return
        del self.model.workers[worker_id]
        self.bench.forget(worker_id)
        # Without a row, its jobs have the lease of a worker from their start on.
        self.let_pass(DAY, [job for job in self.model.jobs.values() if job.is_running and job.worker_id == worker_id])

    def rescue(self) -> None:
        """Have a worker look for orphans, and see to what follows."""
        rescued = self.bench.rescue()
        self.bench.follow(rescued)
        assert sorted(self.model.rescue()) == sorted(each.job_id for each in rescued if not each.is_over)

    def _name_next_runs(self) -> None:
        """Learn the ids of the next runs that a settlement has brought."""
        if not self.model.expected:
            return
        unknown = sorted(self.bench.read().jobs.keys() - self.model.jobs.keys())
        assert len(self.model.expected) == len(unknown)
        for job, job_id in zip(self.model.expected, unknown, strict=True):
            job.id, job.name = job_id, self.model.name()
            self.model.add(job)
        self.model.expected.clear()

    # Reading

    def read_one(self, name: str) -> None:
        job_id, expected = self.model.names[name], self.model.get(name)
        if expected is None:
            for read in (self.app.get_job, self.app.get_executions, self.app.get_job_dependencies):
                with pytest.raises(JobNotFound):
                    read(job_id)
            return
        found = self.app.get_job(job_id)
        assert (expected.status, expected.attempts, expected.key) == (found.status.value, found.attempts, found.key)
        history = [(each.attempt, each.status) for each in expected.history]
        running = [(expected.attempts, "running")] if expected.is_running else []
        assert history + running == [(each.attempt, each.status.value) for each in self.app.get_executions(job_id)]
        assert sorted(expected.parents) == self.app.get_job_dependencies(job_id)

    # Dying, and interfering

    def may_die(
        self,
        left: int,
        act: Callable[[], object],
        change: Callable[[Model], object],
        passing: Sequence[str] = (),
    ) -> None:
        """Somebody does something, or dies on the way: then each job is as it was, or as it was going to be.

        Args:
            left: How many statements can be sent.
            act: Does it.
            change: Does it in the model.
            passing: Statuses that jobs may have on the way.
        """
        after = copy.deepcopy(self.model)
        change(after)
        if not self.bench.happens(left, die, act):
            self.model = after
            return
        tables = self.bench.read()
        for job_id, job in self.model.jobs.items():
            row, then = tables.jobs.get(job_id), after.jobs.get(job_id)
            if row is None:
                assert then is None, f"{job.name} is gone"
            elif row["status"] != job.status:
                assert row["status"] in {*passing, *(OVER if then is None else (then.status,))}, job.name
        adopt(self.model, tables)
        self.model.somebody_dies()

    def _cancel_meanwhile(self, left: int, name: str, act: Callable[[], object]) -> None:
        """A job that was cancelled stays so, whatever is under way to release it or to let it fail."""
        job_id = self.model.names[name]
        cancelled = []
        self.bench.happens(left, lambda: cancelled.append(self.app.cancel_job(job_id)), act)
        adopt(self.model, self.bench.read())
        assert cancelled != [True] or self.model.jobs[job_id].status == "aborted"

    def _requeue_meanwhile(self, left: int, name: str, act: Callable[[], object]) -> None:
        """No job is released that waits for one which was requeued and has not ended."""
        job_id = self.model.names[name]
        children: list[str] = []

        def requeue() -> None:
            if self.app.requeue_job(job_id):
                tables = self.bench.read()
                waiting = [each for each, row in tables.jobs.items() if row["status"] == "waiting"]
                children.extend(each for each in waiting if job_id in tables.parents[each])

        self.bench.happens(left, requeue, act)
        adopt(self.model, self.bench.read())
        released = [each for each in children if self.model.jobs[each].status in {"queued", "scheduled"}]
        assert released == [] or self.model.jobs[job_id].is_over

    def let_pass(self, secs: int, jobs: Sequence[Job], worker_ids: Sequence[str] = ()) -> None:
        self.model.let_pass(secs, jobs, worker_ids)
        self.bench.let_pass(secs, [job.id for job in jobs], worker_ids)


def _outcome(claimed: Claimed, outcome: str) -> Outcome:
    if outcome == "success":
        return after_success(claimed, '"done"')
    if outcome == "given back":
        return given_back()
    return after_failure(claimed, "boom", retry=outcome == "failure")
