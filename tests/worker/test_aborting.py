"""Aborting running jobs, and stopping those that were taken away."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from tests import handlers
from tests.worker import jobs
from tests.worker.conftest import Tables, ended, working

from pgwerk import AsyncWorker, ExecutionStatus, Job, JobError, JobStatus, Retry, Werk


@pytest.fixture
def open_door() -> Iterator[threading.Event]:
    """What `plain_gated` waits for."""
    jobs.door.clear()
    yield jobs.door
    jobs.door.set()


async def running(app: Werk, tables: Tables, func: Any = handlers.hang, *args: Any, **options: Any) -> Job:
    """Enqueue a job, and wait until it runs."""
    job = await app.enqueue(func, *args, **options)
    assert job is not None
    await tables.until(lambda: tables.counts_are(active=1))
    return job


@pytest.mark.parametrize("listen", [True, False])
async def test_coroutine_is_cancelled(app: Werk, tables: Tables, listen: bool) -> None:
    """A running coroutine is cancelled when its job is aborted: told at once, or found by looking now and then."""
    interval = 60.0 if listen else 0.05
    async with working(app, listen=listen, abort_interval=interval):
        job = await running(app, tables, _retry=Retry(max=3))
        assert await app.abort_job(job.id)
        found = await app.wait_for(job.id, timeout=5)
    assert (JobStatus.Aborted, "aborted on request", 1) == (found.status, found.error, found.attempts)
    (execution,) = await app.get_executions(job.id)
    assert (ExecutionStatus.Aborted, "aborted on request") == (execution.status, execution.error)


async def test_who_waits_is_told(app: Werk, tables: Tables) -> None:
    """Whoever waits for a job that is aborted gets an error that says so."""
    async with working(app):
        waiting = asyncio.create_task(app.apply(handlers.hang, timeout=10))
        await tables.until(lambda: tables.counts_are(active=1))
        (job,) = await app.list_jobs()
        assert await app.abort_job(job.id)
        with pytest.raises(JobError, match="aborted on request"):
            await waiting


async def test_handler_that_goes_on(app: Werk, tables: Tables) -> None:
    """A handler that swallows its cancellation keeps its slot until it returns; its result is dropped."""
    async with working(app, concurrency=1):
        job = await running(app, tables, handlers.stubborn, 0.5)
        assert await app.abort_job(job.id)
        after = await app.enqueue(handlers.echo, 1)
        assert after is not None
        found = await app.wait_for(job.id, timeout=5)
        started_at = (await app.wait_for(after.id, timeout=5)).started_at
        assert found.started_at is not None
        assert started_at is not None
        assert timedelta(seconds=0.5) <= started_at - found.started_at
    assert (JobStatus.Aborted, None, "aborted on request") == (found.status, found.result, found.error)


async def test_thread_goes_on(app: Werk, tables: Tables, open_door: threading.Event) -> None:
    """A thread cannot be stopped: it keeps slot and job until it returns, and its result is dropped."""
    async with working(app, concurrency=1, abort_interval=0.05):
        job = await running(app, tables, jobs.plain_gated)
        assert await app.abort_job(job.id)
        await app.enqueue(handlers.echo, 1)
        await asyncio.sleep(0.3)
        assert {"aborting": 1, "queued": 1} == await tables.counts()
        open_door.set()
        found = await app.wait_for(job.id, timeout=5)
        assert (JobStatus.Aborted, None) == (found.status, found.result)
        await tables.until(lambda: tables.counts_are(aborted=1, complete=1))


async def test_handler_that_ends_at_that_moment(app: Werk, tables: Tables) -> None:
    """A job that ends before its worker has heard of the request is aborted all the same, and says why."""
    jobs.forget_gates()
    async with working(app, listen=False, abort_interval=60):
        job = await running(app, tables, jobs.gated)
        assert await app.abort_job(job.id)
        jobs.gate().set()
        found = await app.wait_for(job.id, timeout=5, poll_interval=0.1)
    assert (JobStatus.Aborted, None, "aborted on request") == (found.status, found.result, found.error)


async def test_job_of_another_worker(app: Werk, tables: Tables) -> None:
    """A request concerns the worker that runs the job, and that attempt; others go on."""
    async with working(app), working(app):
        job = await running(app, tables)
        other = await app.enqueue(handlers.hang)
        assert other is not None
        await tables.until(lambda: tables.counts_are(active=2))
        assert await app.abort_job(job.id)
        await app.wait_for(job.id, timeout=5)
        assert JobStatus.Active is (await app.get_job(other.id)).status
        assert await app.abort_job(other.id)
        await app.wait_for(other.id, timeout=5)


async def test_aborting_while_draining(app: Werk, tables: Tables) -> None:
    """A worker that drains still hears of requests."""
    worker = AsyncWorker(app, handle_signals=False, shutdown_timeout=60)
    task = asyncio.create_task(worker.run())
    job = await running(app, tables)
    worker.stop()
    assert await app.abort_job(job.id)
    await ended(worker, task)
    assert JobStatus.Aborted is (await app.get_job(job.id)).status


async def test_job_that_is_deleted(app: Werk, tables: Tables, caplog: pytest.LogCaptureFixture) -> None:
    """The handler of a job that is deleted while it runs is stopped, and its slot is free again."""
    async with working(app, concurrency=1, abort_interval=0.05):
        job = await running(app, tables)
        await app.delete_job(job.id)
        assert 2 == await app.apply(handlers.echo, 2, timeout=10)
    assert "taken away from this worker, or deleted" in caplog.text
    assert {"complete": 1} == await tables.counts()


async def test_job_that_was_rescued(app: Werk, tables: Tables) -> None:
    """A handler whose job was rescued by another worker meanwhile is stopped, and settles nothing."""
    async with working(app, concurrency=1, abort_interval=0.05) as zombie:
        job = await running(app, tables, handlers.hang, _retry=Retry(max=2))
        await tables.rows("UPDATE {workers} SET lease_secs = 0.01, heartbeat_at = now() - interval '1 hour'")
        async with working(app, queues=["other"]):
            assert [job.id] == await app.sweep()
            await tables.until(lambda: tables.value("SELECT attempts = 2 FROM {jobs}"))
            assert zombie.id == await tables.value("SELECT worker_id::text FROM {jobs}")
            assert await app.abort_job(job.id)
            found = await app.wait_for(job.id, timeout=5)
    assert (JobStatus.Aborted, 2) == (found.status, found.attempts)
    assert [ExecutionStatus.Failed, ExecutionStatus.Aborted] == [e.status for e in await app.get_executions(job.id)]


async def test_job_that_came_back(app: Werk, tables: Tables, caplog: pytest.LogCaptureFixture) -> None:
    """When a worker has claimed a job once more that it had lost, it stops the attempt that was lost, and only that."""
    async with working(app, concurrency=2, abort_interval=1) as worker:
        job = await running(app, tables, handlers.hang, _retry=Retry(max=2))
        await tables.rows("UPDATE {workers} SET lease_secs = 0.01, heartbeat_at = now() - interval '1 hour'")
        assert [job.id] == await app.sweep()
        await tables.until(lambda: tables.value("SELECT attempts = 2 AND status = 'active' FROM {jobs}"))
        await tables.until(lambda: "taken away from this worker" in caplog.text, 10)
        assert worker.id == await tables.value("SELECT worker_id::text FROM {jobs}")
        assert await app.abort_job(job.id)
        found = await app.wait_for(job.id, timeout=5)
    assert (JobStatus.Aborted, 2) == (found.status, found.attempts)


async def test_bystanders_are_left_alone(app: Werk, tables: Tables) -> None:
    """Looks for requests do not disturb what nobody wants to stop."""
    async with working(app, abort_interval=0.02):
        assert "swallowed" == await app.apply(handlers.stubborn, 0.5, timeout=10)
        assert {"complete": 1} == await tables.counts()
