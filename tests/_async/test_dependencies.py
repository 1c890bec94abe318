"""Jobs that wait for others: promotion, failure, and what becomes of them in every order of events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from tests import handlers
from tests._async import _compat

from pgwerk import Dependency, DependencyFailed, EnqueueParams, Job, JobError, JobNotFound, JobStatus, Werk
from pgwerk._async import aftermath

UNKNOWN = "01900000-0000-7000-8000-000000000000"


@pytest.fixture
async def worked(app: Werk) -> AsyncIterator[Werk]:
    """A client whose jobs a worker runs."""
    async with _compat.working(app):
        yield app


async def enqueued(app: Werk, *args: Any, **options: Any) -> Job:
    job = await app.enqueue(handlers.echo, *args, **options)
    assert job is not None
    return job


async def failing(app: Werk, **options: Any) -> Job:
    job = await app.enqueue(handlers.fail, **options)
    assert job is not None
    return job


async def statuses(app: Werk, *jobs: Job) -> list[str]:
    """The statuses that jobs have now."""
    found = [await app.get_job(job.id) for job in jobs]
    return [job.status.value for job in found]


async def until(app: Werk, *jobs: Job) -> list[str]:
    """The statuses that jobs have ended with."""
    ended = [await app.wait_for(job.id, timeout=20) for job in jobs]
    return [job.status.value for job in ended]


async def test_child_runs_after_its_parents(worked: Werk) -> None:
    """A job starts when all jobs that it depends on have succeeded, however they are named, and not before."""
    first = await enqueued(worked, 1, _delay=0.2)
    second = await enqueued(worked, 2, _delay=0.1)
    child = await enqueued(worked, 3, _depends_on=[first, second.id, UUID(first.id)])
    assert JobStatus.Waiting is child.status
    assert [first.id, second.id] == await worked.get_job_dependencies(child.id)
    ended = await worked.wait_for(child.id, timeout=20)
    parents = [await worked.get_job(job.id) for job in (first, second)]
    assert ["complete"] * 3 == [job.status.value for job in (ended, *parents)]
    for parent in parents:
        assert parent.completed_at is not None
        assert ended.started_at is not None
        assert parent.completed_at < ended.started_at


async def test_chain_and_diamond_in_one_call(worked: Werk) -> None:
    """Specs of one call may depend on each other: a diamond with a tail runs in its order."""
    top = EnqueueParams(handlers.echo, (0,))
    left = EnqueueParams(handlers.echo, (1,), depends_on=top)
    right = EnqueueParams(handlers.echo, (2,), depends_on=[top])
    bottom = EnqueueParams(handlers.echo, (3,), depends_on=[left, Dependency(right)])
    tail = EnqueueParams(handlers.echo, (4,), depends_on=bottom)
    jobs = [job for job in await worked.enqueue_many([top, left, right, bottom, tail]) if job is not None]
    assert ["complete"] * 5 == await until(worked, *jobs)
    order = sorted([await worked.get_job(job.id) for job in jobs], key=lambda job: str(job.started_at))
    numbers = [job.result for job in order]
    assert (0, [3, 4]) == (numbers[0], numbers[3:])


async def test_failure_cascades(worked: Werk) -> None:
    """When a job fails, those that depend on it fail without having started, and those that depend on them."""
    parent = await failing(worked, _delay=0.1)
    child = await enqueued(worked, _depends_on=parent)
    lenient = await enqueued(worked, 5, _depends_on=Dependency(child, allow_failure=True))
    grandchild = await enqueued(worked, _depends_on=[child, lenient])
    assert ["failed", "failed", "complete", "failed"] == await until(worked, parent, child, lenient, grandchild)
    failed = await worked.get_job(child.id)
    assert f"dependency failed: job {parent.id} (tests.handlers.fail) failed" == failed.error
    assert (0, [], True) == (failed.attempts, await worked.get_executions(child.id), failed.completed_at is not None)


async def test_apply_raises_what_failed(worked: Werk) -> None:
    """Who waits for a job that could not start gets a `DependencyFailed`, which is a `JobError`."""
    parent = await failing(worked)
    with pytest.raises(DependencyFailed, match=f"dependency failed: job {parent.id}") as caught:
        await worked.apply(handlers.echo, _depends_on=parent, timeout=20)
    assert isinstance(caught.value, JobError)
    assert JobStatus.Failed is caught.value.job.status


async def test_parent_that_is_over(app: Werk) -> None:
    """A job whose parents have ended does not wait: it is ready, scheduled, or has failed when `enqueue` returns."""
    good, bad = await enqueued(app), await failing(app)
    await _compat.burst(app)
    ready = await enqueued(app, _depends_on=good)
    scheduled = await enqueued(app, _depends_on=good, _delay=1000)
    failed = await enqueued(app, _depends_on=[good, bad])
    lenient = await enqueued(app, _depends_on=Dependency(bad, allow_failure=True))
    jobs = [ready, scheduled, failed, lenient]
    assert ["queued", "scheduled", "failed", "queued"] == [job.status.value for job in jobs]
    assert jobs == [await app.get_job(job.id) for job in jobs]


async def test_child_keeps_its_own_time(app: Werk) -> None:
    """A job that waited and whose own time has not come is scheduled."""
    parent = await enqueued(app)
    child = await enqueued(app, _depends_on=parent, _delay=1000)
    assert JobStatus.Waiting is child.status
    await _compat.burst(app)
    assert ["complete", "scheduled"] == await statuses(app, parent, child)


async def test_retried_parent_is_waited_for(app: Werk) -> None:
    """A failed attempt that is tried again is not the end of the parent."""
    parent = await failing(app, _retry=2)
    child = await enqueued(app, _depends_on=parent)
    await _compat.burst(app)
    assert ["scheduled", "waiting"] == await statuses(app, parent, child)


async def test_cancelled_parent_fails_the_child(app: Werk) -> None:
    """Cancelling a job, alone or in bulk, settles the jobs that depend on it, at once."""
    parent = await enqueued(app)
    child = await enqueued(app, _depends_on=parent, _queue="other")
    lenient = await enqueued(app, _depends_on=Dependency(parent, allow_failure=True), _queue="other")
    assert await app.cancel_job(parent.id)
    assert ["aborted", "failed", "queued"] == await statuses(app, parent, child, lenient)
    failed = await app.get_job(child.id)
    assert f"dependency failed: job {parent.id} (tests.handlers.echo) was aborted" == failed.error
    parents = [await enqueued(app, number) for number in range(3)]
    children = [await enqueued(app, _depends_on=parent, _queue="other") for parent in parents]
    assert 3 == await app.bulk_cancel_jobs("default")
    assert ["failed"] * 3 == await statuses(app, *children)


async def test_deleted_parent_fails_the_child(app: Werk) -> None:
    """Deleting a job that has not succeeded fails those that depend on it; what allows for failure goes on."""
    parent, other = await enqueued(app), await enqueued(app)
    child = await enqueued(app, _depends_on=[parent, other])
    lenient = await enqueued(app, _depends_on=Dependency(parent, allow_failure=True))
    grandchild = await enqueued(app, _depends_on=child)
    await app.delete_job(parent.id)
    with pytest.raises(JobNotFound):
        await app.get_job(parent.id)
    assert ["failed", "queued", "failed"] == await statuses(app, child, lenient, grandchild)
    failed = await app.get_job(child.id)
    assert f"dependency failed: job {parent.id} (tests.handlers.echo) was deleted" == failed.error


@pytest.mark.parametrize("way", ["delete", "purge"])
async def test_removed_parent_that_succeeded(app: Werk, way: str) -> None:
    """When the row of a job that has succeeded goes, those that depend on it wait for their other parents only."""
    done = await enqueued(app)
    await _compat.burst(app)
    pending = await enqueued(app, _delay=1000)
    child = await enqueued(app, _depends_on=[done, pending])
    if way == "delete":
        await app.delete_job(done.id)
    else:
        assert 1 == await app.purge_jobs(["complete"], 0)
    assert ["waiting"] == await statuses(app, child)
    assert [pending.id] == await app.get_job_dependencies(child.id)
    await app.delete_job(pending.id)
    assert ["failed"] == await statuses(app, child)


async def test_row_that_vanished_fails_the_child(app: Werk, dsn: str, schema: str) -> None:
    """A parent that somebody deleted by hand is gone: the sweep fails its children, but for those that allow it."""
    parent = await enqueued(app)
    child = await enqueued(app, _depends_on=parent)
    lenient = await enqueued(app, _depends_on=Dependency(parent, allow_failure=True))
    await _execute(dsn, "DELETE FROM {} WHERE id = %s", schema, parent.id)
    await app.sweep()
    assert ["failed", "queued"] == await statuses(app, child, lenient)
    failed = await app.get_job(child.id)
    assert f"dependency failed: job {parent.id} is gone" == failed.error
    assert [parent.id] == await app.get_job_dependencies(child.id)


async def test_sweep_finds_what_was_forgotten(app: Werk, dsn: str, schema: str) -> None:
    """When whoever ended the parents died before it saw to their children, the sweep does."""
    good, bad = await enqueued(app), await enqueued(app)
    child = await enqueued(app, _depends_on=good)
    doomed = await enqueued(app, _depends_on=[good, bad])
    forged = "UPDATE {} SET completed_at = now(), status = %s WHERE id = %s"
    await _execute(dsn, forged, schema, "complete", good.id)
    await _execute(dsn, forged, schema, "failed", bad.id)
    assert ["waiting", "waiting"] == await statuses(app, child, doomed)
    await app.sweep()
    assert ["queued", "failed"] == await statuses(app, child, doomed)


async def test_expired_parent_fails_the_child(app: Werk, dsn: str, schema: str) -> None:
    """A parent that expires before it starts fails its children, and a child may itself expire while it waits."""
    parent = await enqueued(app, _ttl=1000, _queue="nobody")
    child = await enqueued(app, _depends_on=parent)
    impatient = await enqueued(app, _depends_on=await enqueued(app, _queue="nobody"), _ttl=1000)
    past = "UPDATE {} SET expires_at = now() - interval '1 s' WHERE ttl IS NOT NULL"
    await _execute(dsn, past, schema)
    await app.sweep()
    assert ["aborted", "failed", "aborted"] == await statuses(app, parent, child, impatient)


async def test_failed_child_is_removed_when_it_says_so(app: Werk) -> None:
    """`failure_mode="delete"` holds for a job that fails because of another one, and its children hear the reason."""
    parent = await enqueued(app)
    child = await enqueued(app, _depends_on=parent, _failure_mode="delete")
    grandchild = await enqueued(app, _depends_on=child)
    await app.cancel_job(parent.id)
    with pytest.raises(JobNotFound):
        await app.get_job(child.id)
    failed = await app.get_job(grandchild.id)
    assert f"dependency failed: job {child.id} (tests.handlers.echo) failed" == failed.error


async def test_requeued_together(app: Werk) -> None:
    """Of jobs that are requeued together, a child waits for its parent once more."""
    parent = await failing(app)
    child = await enqueued(app, _depends_on=parent)
    await _compat.burst(app)
    assert ["failed", "failed"] == await statuses(app, parent, child)
    assert 2 == await app.bulk_requeue_jobs()
    assert ["queued", "waiting"] == await statuses(app, parent, child)
    await app.cancel_job(parent.id)
    assert ["aborted", "failed"] == await statuses(app, parent, child)
    # Alone, it is the operator's word that it may run.
    assert await app.requeue_job(child.id)
    assert ["queued"] == await statuses(app, child)


async def test_many_children_of_one_parent(worked: Werk) -> None:
    """More children than fit into one batch are all released."""
    parent = EnqueueParams(handlers.echo, delay=0.2)
    specs = [parent, *(EnqueueParams(handlers.echo, (number,), depends_on=parent) for number in range(1200))]
    jobs = await worked.enqueue_many(specs)
    last = jobs[-1]
    assert last is not None
    while await worked.list_jobs(status=["waiting", "queued", "active", "scheduled"], limit=1):
        await _compat.pause(0.05)
    assert 1201 == len(await worked.list_jobs(status="complete", limit=2000))


@pytest.mark.parametrize("children", [3, 4, 5])
async def test_children_are_found_in_batches(app: Werk, monkeypatch: pytest.MonkeyPatch, children: int) -> None:
    """Without a worker or a sweep, all children hear of their parent's end, however they fit into batches."""
    monkeypatch.setattr(aftermath, "BATCH", 2)
    parent = await enqueued(app)
    jobs = [await enqueued(app, number, _depends_on=parent) for number in range(children)]
    assert await app.cancel_job(parent.id)
    failed = await app.list_jobs(status=JobStatus.Failed)
    assert {job.id for job in jobs} == {job.id for job in failed}


async def test_child_in_the_callers_transaction(worked: Werk, dsn: str) -> None:
    """A parent ends while its child is inserted in a transaction that stays open: nobody waits or is forgotten."""
    await worked.connect()
    connection = await psycopg.AsyncConnection.connect(dsn)
    async with connection:
        parent = await enqueued(worked, 1, _delay=0.3)
        child = await worked.enqueue(handlers.echo, 2, _depends_on=parent, _conn=connection)
        assert child is not None
        ended = await worked.wait_for(parent.id, timeout=20)
        assert JobStatus.Complete is ended.status
        with pytest.raises(JobNotFound):
            await worked.get_job(child.id)
        await connection.commit()
    assert ["complete"] == await until(worked, child)


async def test_parent_of_an_open_transaction_stays(app: Werk, dsn: str) -> None:
    """A parent cannot be removed while a transaction is open that inserts a child of it, and nobody waits for that."""
    parent = await enqueued(app)
    await _compat.burst(app)
    connection = await psycopg.AsyncConnection.connect(dsn)
    async with connection:
        child = await app.enqueue(handlers.echo, _depends_on=parent, _conn=connection)
        assert child is not None
        assert 0 == await app.purge_jobs("complete", 0)
        await connection.commit()
    await app.sweep()
    assert ["queued"] == await statuses(app, child)
    assert 1 == await app.purge_jobs("complete", 0)
    assert ["queued"] == await statuses(app, child)


async def test_missing_parents_are_named(app: Werk) -> None:
    """A dependency on a job that does not exist is an error that names it, and nothing is written."""
    parent = await enqueued(app)
    with pytest.raises(JobNotFound, match=UNKNOWN):
        await app.enqueue(handlers.echo, _depends_on=[parent, UNKNOWN])
    await app.delete_job(parent.id)
    with pytest.raises(JobNotFound, match=parent.id):
        await app.enqueue(handlers.echo, _depends_on=parent)
    assert [] == await app.list_jobs()
    for method in (app.get_job_dependencies, app.get_job):
        with pytest.raises(JobNotFound):
            await method(UNKNOWN)
        with pytest.raises(JobNotFound):
            await method("no id")


async def test_duplicate_key_as_parent(app: Werk) -> None:
    """A parent whose key exists already stands for the job that has it."""
    older = await enqueued(app, _key="k")
    twin = EnqueueParams(handlers.echo, key="k")
    _, child = await app.enqueue_many([twin, EnqueueParams(handlers.echo, depends_on=twin)])
    assert child is not None
    assert [older.id] == await app.get_job_dependencies(child.id)
    await _compat.burst(app)
    assert ["complete", "complete"] == await statuses(app, older, child)


async def _execute(dsn: str, query: str, schema: str, *params: object) -> None:
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        table = sql.Identifier(schema, "_pgwerk_jobs")
        await connection.execute(sql.SQL(query).format(table), params)
