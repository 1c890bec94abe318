# Generated from tests/_async/test_dependencies.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""Jobs that wait for others: promotion, failure, and what becomes of them in every order of events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from tests import handlers
from tests._sync import _compat

from pgwerk import Dependency, DependencyFailed, EnqueueParams, Job, JobError, JobNotFound, JobStatus, SyncWerk
from pgwerk._sync import aftermath

UNKNOWN = "01900000-0000-7000-8000-000000000000"


@pytest.fixture
def worked(app: SyncWerk) -> Iterator[SyncWerk]:
    """A client whose jobs a worker runs."""
    with _compat.working(app):
        yield app


def enqueued(app: SyncWerk, *args: Any, **options: Any) -> Job:
    job = app.enqueue(handlers.echo, *args, **options)
    assert job is not None
    return job


def failing(app: SyncWerk, **options: Any) -> Job:
    job = app.enqueue(handlers.fail, **options)
    assert job is not None
    return job


def statuses(app: SyncWerk, *jobs: Job) -> list[str]:
    """The statuses that jobs have now."""
    found = [app.get_job(job.id) for job in jobs]
    return [job.status.value for job in found]


def until(app: SyncWerk, *jobs: Job) -> list[str]:
    """The statuses that jobs have ended with."""
    ended = [app.wait_for(job.id, timeout=20) for job in jobs]
    return [job.status.value for job in ended]


def test_child_runs_after_its_parents(worked: SyncWerk) -> None:
    """A job starts when all jobs that it depends on have succeeded, however they are named, and not before."""
    first = enqueued(worked, 1, _delay=0.2)
    second = enqueued(worked, 2, _delay=0.1)
    child = enqueued(worked, 3, _depends_on=[first, second.id, UUID(first.id)])
    assert JobStatus.Waiting is child.status
    assert [first.id, second.id] == worked.get_job_dependencies(child.id)
    ended = worked.wait_for(child.id, timeout=20)
    parents = [worked.get_job(job.id) for job in (first, second)]
    assert ["complete"] * 3 == [job.status.value for job in (ended, *parents)]
    for parent in parents:
        assert parent.completed_at is not None
        assert ended.started_at is not None
        assert parent.completed_at < ended.started_at


def test_chain_and_diamond_in_one_call(worked: SyncWerk) -> None:
    """Specs of one call may depend on each other: a diamond with a tail runs in its order."""
    top = EnqueueParams(handlers.echo, (0,))
    left = EnqueueParams(handlers.echo, (1,), depends_on=top)
    right = EnqueueParams(handlers.echo, (2,), depends_on=[top])
    bottom = EnqueueParams(handlers.echo, (3,), depends_on=[left, Dependency(right)])
    tail = EnqueueParams(handlers.echo, (4,), depends_on=bottom)
    jobs = [job for job in worked.enqueue_many([top, left, right, bottom, tail]) if job is not None]
    assert ["complete"] * 5 == until(worked, *jobs)
    order = sorted([worked.get_job(job.id) for job in jobs], key=lambda job: str(job.started_at))
    numbers = [job.result for job in order]
    assert (0, [3, 4]) == (numbers[0], numbers[3:])


def test_failure_cascades(worked: SyncWerk) -> None:
    """When a job fails, those that depend on it fail without having started, and those that depend on them."""
    parent = failing(worked, _delay=0.1)
    child = enqueued(worked, _depends_on=parent)
    lenient = enqueued(worked, 5, _depends_on=Dependency(child, allow_failure=True))
    grandchild = enqueued(worked, _depends_on=[child, lenient])
    assert ["failed", "failed", "complete", "failed"] == until(worked, parent, child, lenient, grandchild)
    failed = worked.get_job(child.id)
    assert f"dependency failed: job {parent.id} (tests.handlers.fail) failed" == failed.error
    assert (0, [], True) == (failed.attempts, worked.get_executions(child.id), failed.completed_at is not None)


def test_apply_raises_what_failed(worked: SyncWerk) -> None:
    """Who waits for a job that could not start gets a `DependencyFailed`, which is a `JobError`."""
    parent = failing(worked)
    with pytest.raises(DependencyFailed, match=f"dependency failed: job {parent.id}") as caught:
        worked.apply(handlers.echo, _depends_on=parent, timeout=20)
    assert isinstance(caught.value, JobError)
    assert JobStatus.Failed is caught.value.job.status


def test_parent_that_is_over(app: SyncWerk) -> None:
    """A job whose parents have ended does not wait: it is ready, scheduled, or has failed when `enqueue` returns."""
    good, bad = enqueued(app), failing(app)
    _compat.burst(app)
    ready = enqueued(app, _depends_on=good)
    scheduled = enqueued(app, _depends_on=good, _delay=1000)
    failed = enqueued(app, _depends_on=[good, bad])
    lenient = enqueued(app, _depends_on=Dependency(bad, allow_failure=True))
    jobs = [ready, scheduled, failed, lenient]
    assert ["queued", "scheduled", "failed", "queued"] == [job.status.value for job in jobs]
    assert jobs == [app.get_job(job.id) for job in jobs]


def test_child_keeps_its_own_time(app: SyncWerk) -> None:
    """A job that waited and whose own time has not come is scheduled."""
    parent = enqueued(app)
    child = enqueued(app, _depends_on=parent, _delay=1000)
    assert JobStatus.Waiting is child.status
    _compat.burst(app)
    assert ["complete", "scheduled"] == statuses(app, parent, child)


def test_retried_parent_is_waited_for(app: SyncWerk) -> None:
    """A failed attempt that is tried again is not the end of the parent."""
    parent = failing(app, _retry=2)
    child = enqueued(app, _depends_on=parent)
    _compat.burst(app)
    assert ["scheduled", "waiting"] == statuses(app, parent, child)


def test_cancelled_parent_fails_the_child(app: SyncWerk) -> None:
    """Cancelling a job, alone or in bulk, settles the jobs that depend on it, at once."""
    parent = enqueued(app)
    child = enqueued(app, _depends_on=parent, _queue="other")
    lenient = enqueued(app, _depends_on=Dependency(parent, allow_failure=True), _queue="other")
    assert app.cancel_job(parent.id)
    assert ["aborted", "failed", "queued"] == statuses(app, parent, child, lenient)
    failed = app.get_job(child.id)
    assert f"dependency failed: job {parent.id} (tests.handlers.echo) was aborted" == failed.error
    parents = [enqueued(app, number) for number in range(3)]
    children = [enqueued(app, _depends_on=parent, _queue="other") for parent in parents]
    assert 3 == app.bulk_cancel_jobs("default")
    assert ["failed"] * 3 == statuses(app, *children)


def test_deleted_parent_fails_the_child(app: SyncWerk) -> None:
    """Deleting a job that has not succeeded fails those that depend on it; what allows for failure goes on."""
    parent, other = enqueued(app), enqueued(app)
    child = enqueued(app, _depends_on=[parent, other])
    lenient = enqueued(app, _depends_on=Dependency(parent, allow_failure=True))
    grandchild = enqueued(app, _depends_on=child)
    app.delete_job(parent.id)
    with pytest.raises(JobNotFound):
        app.get_job(parent.id)
    assert ["failed", "queued", "failed"] == statuses(app, child, lenient, grandchild)
    failed = app.get_job(child.id)
    assert f"dependency failed: job {parent.id} (tests.handlers.echo) was deleted" == failed.error


@pytest.mark.parametrize("way", ["delete", "purge"])
def test_removed_parent_that_succeeded(app: SyncWerk, way: str) -> None:
    """When the row of a job that has succeeded goes, those that depend on it wait for their other parents only."""
    done = enqueued(app)
    _compat.burst(app)
    pending = enqueued(app, _delay=1000)
    child = enqueued(app, _depends_on=[done, pending])
    if way == "delete":
        app.delete_job(done.id)
    else:
        assert 1 == app.purge_jobs(["complete"], 0)
    assert ["waiting"] == statuses(app, child)
    assert [pending.id] == app.get_job_dependencies(child.id)
    app.delete_job(pending.id)
    assert ["failed"] == statuses(app, child)


def test_row_that_vanished_fails_the_child(app: SyncWerk, dsn: str, schema: str) -> None:
    """A parent that somebody deleted by hand is gone: the sweep fails its children, but for those that allow it."""
    parent = enqueued(app)
    child = enqueued(app, _depends_on=parent)
    lenient = enqueued(app, _depends_on=Dependency(parent, allow_failure=True))
    _execute(dsn, "DELETE FROM {} WHERE id = %s", schema, parent.id)
    app.sweep()
    assert ["failed", "queued"] == statuses(app, child, lenient)
    failed = app.get_job(child.id)
    assert f"dependency failed: job {parent.id} is gone" == failed.error
    assert [parent.id] == app.get_job_dependencies(child.id)


def test_sweep_finds_what_was_forgotten(app: SyncWerk, dsn: str, schema: str) -> None:
    """When whoever ended the parents died before it saw to their children, the sweep does."""
    good, bad = enqueued(app), enqueued(app)
    child = enqueued(app, _depends_on=good)
    doomed = enqueued(app, _depends_on=[good, bad])
    forged = "UPDATE {} SET completed_at = now(), status = %s WHERE id = %s"
    _execute(dsn, forged, schema, "complete", good.id)
    _execute(dsn, forged, schema, "failed", bad.id)
    assert ["waiting", "waiting"] == statuses(app, child, doomed)
    app.sweep()
    assert ["queued", "failed"] == statuses(app, child, doomed)


def test_expired_parent_fails_the_child(app: SyncWerk, dsn: str, schema: str) -> None:
    """A parent that expires before it starts fails its children, and a child may itself expire while it waits."""
    parent = enqueued(app, _ttl=1000, _queue="nobody")
    child = enqueued(app, _depends_on=parent)
    impatient = enqueued(app, _depends_on=enqueued(app, _queue="nobody"), _ttl=1000)
    past = "UPDATE {} SET expires_at = now() - interval '1 s' WHERE ttl IS NOT NULL"
    _execute(dsn, past, schema)
    app.sweep()
    assert ["aborted", "failed", "aborted"] == statuses(app, parent, child, impatient)


def test_failed_child_is_removed_when_it_says_so(app: SyncWerk) -> None:
    """`failure_mode="delete"` holds for a job that fails because of another one, and its children hear the reason."""
    parent = enqueued(app)
    child = enqueued(app, _depends_on=parent, _failure_mode="delete")
    grandchild = enqueued(app, _depends_on=child)
    app.cancel_job(parent.id)
    with pytest.raises(JobNotFound):
        app.get_job(child.id)
    failed = app.get_job(grandchild.id)
    assert f"dependency failed: job {child.id} (tests.handlers.echo) failed" == failed.error


def test_requeued_together(app: SyncWerk) -> None:
    """Of jobs that are requeued together, a child waits for its parent once more."""
    parent = failing(app)
    child = enqueued(app, _depends_on=parent)
    _compat.burst(app)
    assert ["failed", "failed"] == statuses(app, parent, child)
    assert 2 == app.bulk_requeue_jobs()
    assert ["queued", "waiting"] == statuses(app, parent, child)
    app.cancel_job(parent.id)
    assert ["aborted", "failed"] == statuses(app, parent, child)
    # Alone, it is the operator's word that it may run.
    assert app.requeue_job(child.id)
    assert ["queued"] == statuses(app, child)


def test_many_children_of_one_parent(worked: SyncWerk) -> None:
    """More children than fit into one batch are all released."""
    parent = EnqueueParams(handlers.echo, delay=0.2)
    specs = [parent, *(EnqueueParams(handlers.echo, (number,), depends_on=parent) for number in range(1200))]
    jobs = worked.enqueue_many(specs)
    last = jobs[-1]
    assert last is not None
    while worked.list_jobs(status=["waiting", "queued", "active", "scheduled"], limit=1):
        _compat.pause(0.05)
    assert 1201 == len(worked.list_jobs(status="complete", limit=2000))


@pytest.mark.parametrize("children", [3, 4, 5])
def test_children_are_found_in_batches(app: SyncWerk, monkeypatch: pytest.MonkeyPatch, children: int) -> None:
    """Without a worker or a sweep, all children hear of their parent's end, however they fit into batches."""
    monkeypatch.setattr(aftermath, "BATCH", 2)
    parent = enqueued(app)
    jobs = [enqueued(app, number, _depends_on=parent) for number in range(children)]
    assert app.cancel_job(parent.id)
    failed = app.list_jobs(status=JobStatus.Failed)
    assert {job.id for job in jobs} == {job.id for job in failed}


def test_child_in_the_callers_transaction(worked: SyncWerk, dsn: str) -> None:
    """A parent ends while its child is inserted in a transaction that stays open: nobody waits or is forgotten."""
    worked.connect()
    connection = psycopg.Connection.connect(dsn)
    with connection:
        parent = enqueued(worked, 1, _delay=0.3)
        child = worked.enqueue(handlers.echo, 2, _depends_on=parent, _conn=connection)
        assert child is not None
        ended = worked.wait_for(parent.id, timeout=20)
        assert JobStatus.Complete is ended.status
        with pytest.raises(JobNotFound):
            worked.get_job(child.id)
        connection.commit()
    assert ["complete"] == until(worked, child)


def test_parent_of_an_open_transaction_stays(app: SyncWerk, dsn: str) -> None:
    """A parent cannot be removed while a transaction is open that inserts a child of it, and nobody waits for that."""
    parent = enqueued(app)
    _compat.burst(app)
    connection = psycopg.Connection.connect(dsn)
    with connection:
        child = app.enqueue(handlers.echo, _depends_on=parent, _conn=connection)
        assert child is not None
        assert 0 == app.purge_jobs("complete", 0)
        connection.commit()
    app.sweep()
    assert ["queued"] == statuses(app, child)
    assert 1 == app.purge_jobs("complete", 0)
    assert ["queued"] == statuses(app, child)


def test_missing_parents_are_named(app: SyncWerk) -> None:
    """A dependency on a job that does not exist is an error that names it, and nothing is written."""
    parent = enqueued(app)
    with pytest.raises(JobNotFound, match=UNKNOWN):
        app.enqueue(handlers.echo, _depends_on=[parent, UNKNOWN])
    app.delete_job(parent.id)
    with pytest.raises(JobNotFound, match=parent.id):
        app.enqueue(handlers.echo, _depends_on=parent)
    assert [] == app.list_jobs()
    for method in (app.get_job_dependencies, app.get_job):
        with pytest.raises(JobNotFound):
            method(UNKNOWN)
        with pytest.raises(JobNotFound):
            method("no id")


def test_duplicate_key_as_parent(app: SyncWerk) -> None:
    """A parent whose key exists already stands for the job that has it."""
    older = enqueued(app, _key="k")
    twin = EnqueueParams(handlers.echo, key="k")
    _, child = app.enqueue_many([twin, EnqueueParams(handlers.echo, depends_on=twin)])
    assert child is not None
    assert [older.id] == app.get_job_dependencies(child.id)
    _compat.burst(app)
    assert ["complete", "complete"] == statuses(app, older, child)


def _execute(dsn: str, query: str, schema: str, *params: object) -> None:
    with psycopg.Connection.connect(dsn) as connection:
        table = sql.Identifier(schema, "_pgwerk_jobs")
        connection.execute(sql.SQL(query).format(table), params)
