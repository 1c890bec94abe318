"""Callbacks: called by a worker after the job has ended, whoever ended it, and not lost with any worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from tests import handlers
from tests.worker import jobs
from tests.worker.conftest import Tables, ended, working
from tests.worker.entry import WorkerProcess

from pgwerk import AsyncWorker, Callback, Dependency, Job, JobStatus, Retry, SyncWerk, Werk
from pgwerk._core.execution import Ending
from pgwerk.worker import BaseWorker
from pgwerk.worker.calling import Callbacks
from pgwerk.worker.session import Session

StartWorker = Callable[..., WorkerProcess]

ALL: dict[str, Any] = {
    "_on_success": jobs.note_job,
    "_on_failure": jobs.note_job,
    "_on_stopped": jobs.note_job,
}


@pytest.fixture(autouse=True)
def calls() -> Iterator[list[tuple[str, Any]]]:
    """What has been called."""
    jobs.calls.clear()
    yield jobs.calls
    jobs.calls.clear()


@pytest.fixture
async def session(tables: Tables) -> AsyncIterator[Session]:
    """A connection of a worker's."""
    session = Session(tables.dsn, silence_secs=30)
    yield session
    await session.close()


@pytest.fixture
def other(tables: Tables, session: Session) -> Callbacks:
    """What calls callbacks for a worker, without the worker."""
    return Callbacks(
        session,
        tables.statements,
        ["default"],
        lease_secs=30,
        on_removable=print,
        on_postponed=print,
        on_written=print,
    )


async def burst(app: Werk, **options: Any) -> BaseWorker:
    """Run what there is to run. Nothing of it may have to wait until the worker looks around by itself."""
    worker = AsyncWorker(app, burst=True, handle_signals=False, poll_interval=60, **options)
    await asyncio.wait_for(worker.run(), 20)
    return worker


async def owed(tables: Tables) -> int:
    """How many callbacks are owed."""
    count: int = await tables.value(
        "SELECT count(*) FROM {jobs} WHERE callback IS NOT NULL OR callback_due IS NOT NULL"
    )
    return count


async def let_pass(tables: Tables) -> None:
    """Let the time go by until which callbacks are not to be called."""
    await tables.rows("UPDATE {jobs} SET callback_due = now() WHERE callback_due IS NOT NULL")


def only_job() -> Job:
    """The job of the one call there was."""
    ((_, job),) = jobs.calls
    assert isinstance(job, Job)
    return job


# Which one, with what


@pytest.mark.parametrize(
    ("handler", "status"), [(handlers.echo, JobStatus.Complete), (handlers.fail, JobStatus.Failed)]
)
async def test_callback_fits_the_end(app: Werk, tables: Tables, handler: Any, status: JobStatus) -> None:
    """After the end, the callback that fits it is called once, with the job as it is then."""
    job = await app.enqueue(handler, **ALL)
    assert job is not None
    await burst(app)
    assert await app.get_job(job.id) == only_job()
    assert status is only_job().status
    assert 0 == await owed(tables)


async def test_no_callback_between_attempts(app: Werk) -> None:
    """A failed attempt that is followed by another one calls nothing."""
    await app.enqueue(handlers.fail, _retry=Retry(max=2, intervals=1000), **ALL)
    await burst(app)
    assert [] == jobs.calls


async def test_callback_gets_the_context(app: Werk) -> None:
    """A callback gets the context by the same rule as a handler, in the flavour of the callback."""
    await app.enqueue(handlers.echo, 5, _on_success=jobs.note_context)
    worker = await burst(app)
    ((name, context),) = jobs.calls
    assert ("note_context", worker, 5) == (name, context.worker, context.job.result)
    assert isinstance(context.app, SyncWerk)


async def test_callback_of_a_cancelled_job(app: Werk, tables: Tables) -> None:
    """A job that is cancelled has its callback called by a worker, though no worker ever had the job."""
    job = await app.enqueue(handlers.echo, **ALL)
    assert job is not None
    async with working(app, poll_interval=60):
        await tables.until(lambda: jobs.calls)
        job = await app.enqueue(handlers.echo, _delay=1000, **ALL)
        assert job is not None
        jobs.calls.clear()
        assert await app.cancel_job(job.id)
        await tables.until(lambda: jobs.calls, 5)
    assert (job.id, JobStatus.Aborted) == (only_job().id, only_job().status)


async def test_callback_of_an_expired_job(app: Werk, tables: Tables) -> None:
    """A job whose time to live is over has its callback for stopped jobs called."""
    await app.enqueue(handlers.echo, _ttl=1, _delay=1000, **ALL)
    await tables.rows("UPDATE {jobs} SET expires_at = now()")
    await app.sweep()
    await burst(app)
    assert "expired" in (only_job().error or "")


async def test_burst_ends_what_is_late(app: Werk, tables: Tables) -> None:
    """A burst ends jobs whose time to live is over, with all that follows, though no sweep comes by."""
    job = await app.enqueue(handlers.echo, _ttl=1000, **ALL)
    assert job is not None
    child = await app.enqueue(handlers.echo, _depends_on=job)
    kept = await app.enqueue(handlers.echo, _result_ttl=0)
    assert child is not None
    assert kept is not None
    await tables.rows("UPDATE {jobs} SET expires_at = now() WHERE ttl IS NOT NULL")
    await burst(app)
    assert job.id == only_job().id
    assert {"aborted": 1, "failed": 1} == await tables.counts()


async def test_callback_of_a_failed_dependency(app: Werk) -> None:
    """A job that cannot start because another one has failed has its callback for failures called."""
    parent = await app.enqueue(handlers.fail)
    assert parent is not None
    child = await app.enqueue(handlers.echo, _depends_on=Dependency(parent), **ALL)
    assert child is not None
    await burst(app)
    assert (child.id, JobStatus.Failed) == (only_job().id, only_job().status)


async def test_callback_of_another_queue(app: Werk, tables: Tables) -> None:
    """A worker calls the callbacks of its own queues only: it may not have the code of others."""
    job = await app.enqueue(handlers.echo, _queue="elsewhere", **ALL)
    assert job is not None
    assert await app.cancel_job(job.id)
    await burst(app)
    assert [] == jobs.calls
    await burst(app, queues=["default", "elsewhere"])
    assert job.id == only_job().id
    assert 0 == await owed(tables)


async def test_callback_of_a_rescued_job(app: Werk, tables: Tables) -> None:
    """A job whose last worker was lost has its callback called by another one, which is told at once."""
    await app.enqueue(handlers.echo, **ALL)
    claimer = tables.claimer()
    (lost,) = await claimer.claim(await tables.connect(), 1)
    async with working(app, poll_interval=60):
        # It hears of jobs, so it does of callbacks.
        assert 1 == await app.apply(handlers.echo, 1, timeout=10)
        assert 2 == await app.apply(handlers.echo, 2, timeout=10)
        await tables.lapse(lost.worker_id)
        assert [] == await app.sweep()
        await tables.until(lambda: jobs.calls, 5)
    assert JobStatus.Failed is only_job().status


async def test_callback_of_an_aborted_job(app: Werk, tables: Tables) -> None:
    """A job that is aborted while it runs has its callback for stopped jobs called."""
    job = await app.enqueue(handlers.hang, **ALL)
    assert job is not None
    async with working(app):
        await tables.until(lambda: tables.counts_are(active=1))
        assert await app.abort_job(job.id)
        await tables.until(lambda: jobs.calls)
    assert JobStatus.Aborted is only_job().status


# Failing


async def test_callback_that_fails_is_called_again(app: Werk, tables: Tables, caplog: pytest.LogCaptureFixture) -> None:
    """A callback that fails is called again, three times in all, and the job stays as it is."""
    job = await app.enqueue(handlers.echo, 1, _on_success=jobs.fail_twice)
    for number in (1, 2, 3):
        await burst(app)
        assert number == len(jobs.calls)
        assert (number < 3) == bool(await owed(tables))
        await let_pass(tables)
    assert job is not None
    assert JobStatus.Complete is (await app.get_job(job.id)).status
    assert 2 == caplog.text.count("on_success of job")
    assert "ValueError: not yet" in caplog.text


async def test_callback_that_always_fails_is_given_up(app: Werk, tables: Tables) -> None:
    """After three calls in vain, nothing is owed any more."""
    await app.enqueue(handlers.echo, 1, _on_success=handlers.fail)
    for _ in range(3):
        assert 0 == await owed(tables) or await tables.value("SELECT callback_due <= now() FROM {jobs}")
        await burst(app)
        await let_pass(tables)
    assert 0 == await owed(tables)


async def test_callback_that_takes_too_long(app: Werk, tables: Tables, caplog: pytest.LogCaptureFixture) -> None:
    """A callback is stopped after its own time-out."""
    await app.enqueue(handlers.echo, 1, _on_success=Callback(jobs.hang_in_callback, timeout=1))
    await burst(app)
    assert 1 == len(jobs.calls)
    assert "ran for longer than its time-out of 1 s" in caplog.text
    assert 1 == await owed(tables)


async def test_callback_that_cannot_be_found(app: Werk, tables: Tables, caplog: pytest.LogCaptureFixture) -> None:
    """A callback that is not there fails as one that raises, and the worker goes on."""
    await app.enqueue(handlers.echo, 1)
    await tables.rows("UPDATE {jobs} SET on_success = 'tests.handlers.no_such'")
    await burst(app)
    assert "HandlerNotFound" in caplog.text
    assert 1 == await owed(tables)


# Lost workers


async def test_callback_is_owed_before_it_is_called(app: Werk, tables: Tables, other: Callbacks) -> None:
    """While one worker has taken a callback up, no other one does, until the lease of the first is over."""
    job = await app.enqueue(handlers.echo, **ALL)
    assert job is not None
    assert await app.cancel_job(job.id)
    connection = await tables.connect()
    (taken,) = await other.take(connection, 10)
    assert (job.id, "on_stopped", 1) == (taken.claimed.id, taken.due.option, taken.number)
    assert [] == await other.take(connection, 10)
    await burst(app)
    assert [] == jobs.calls
    await let_pass(tables)
    await burst(app)
    assert job.id == only_job().id
    assert 0 == await owed(tables)


async def test_heartbeats_keep_callbacks(app: Werk, tables: Tables, other: Callbacks) -> None:
    """Heartbeats keep a callback that takes long with its worker."""
    job = await app.enqueue(handlers.echo, **ALL)
    assert job is not None
    assert await app.cancel_job(job.id)
    connection = await tables.connect()
    (taken,) = await other.take(connection, 10)
    before = taken.until
    await other.extend(connection)
    assert taken.until > before
    assert taken.until == await tables.value("SELECT callback_due FROM {jobs}")


async def test_workers_that_die_of_a_callback(
    app: Werk, tables: Tables, other: Callbacks, caplog: pytest.LogCaptureFixture
) -> None:
    """A callback that three workers were lost with is not called any more."""
    job = await app.enqueue(handlers.echo, **ALL)
    assert job is not None
    assert await app.cancel_job(job.id)
    connection = await tables.connect()
    for _ in range(3):
        assert 1 == len(await other.take(connection, 1))
        await let_pass(tables)
    await burst(app)
    assert [] == jobs.calls
    assert "is given up: 3 workers were lost" in caplog.text
    assert 0 == await owed(tables)


async def test_shutdown_gives_a_callback_back(app: Werk, tables: Tables) -> None:
    """A callback that is stopped because the worker is, is owed as before, and another worker calls it at once."""
    await app.enqueue(handlers.echo, _on_success=jobs.hang_in_callback)
    worker = AsyncWorker(app, handle_signals=False, shutdown_timeout=0)
    task = asyncio.create_task(worker.run())
    await tables.until(lambda: jobs.calls)
    worker.stop()
    await ended(worker, task)
    assert [("on_success", 0, True)] == await tables.rows(
        "SELECT callback, callback_tries, callback_due <= now() FROM {jobs}"
    )


async def test_callbacks_of_a_stopping_worker(app: Werk, tables: Tables) -> None:
    """A worker that stops leaves the callbacks of jobs that it still ends to others, and tells them."""
    await app.enqueue(jobs.gated, **ALL)
    jobs.forget_gates()
    async with working(app, queues=["default"], poll_interval=60) as survivor:
        assert survivor.id
        await tables.until(lambda: tables.counts_are(active=1))
        first = await tables.value("SELECT worker_id::text FROM {jobs}")
        async with working(app, poll_interval=60) as heir:
            assert survivor.id == first
            await tables.until(lambda: has_looked_around(heir))
            survivor.stop()
            jobs.gate().set()
            await tables.until(lambda: jobs.calls, 5)
    assert JobStatus.Complete is only_job().status


def has_looked_around(worker: BaseWorker) -> bool:
    """Whether a worker hears of callbacks, and has nothing left to look for by itself."""
    engine = worker._engine
    return engine is not None and engine._listener.is_hearing and engine._look_for_callbacks_at > 0


# Rows


async def test_row_is_kept_for_the_callback(app: Werk, tables: Tables, other: Callbacks) -> None:
    """With `failure_mode="delete"`, the row stays until its callback was called; neither purge nor expiry take it."""
    await app.enqueue(handlers.fail, _failure_mode="delete", _failure_ttl=0, **ALL)
    claimer = tables.claimer()
    (lost,) = await claimer.claim(await tables.connect(), 1)
    await tables.lapse(lost.worker_id)
    await app.sweep()
    assert {"failed": 1} == await tables.counts()
    assert 0 == await app.purge_jobs(["failed"], 0)
    assert [] == await app.sweep()
    assert {"failed": 1} == await tables.counts()
    assert 1 == len(await other.take(await tables.connect(), 1))
    assert 0 == await app.purge_jobs(["failed"], 0)
    await let_pass(tables)
    await burst(app)
    assert JobStatus.Failed is only_job().status
    assert {} == await tables.counts()


async def test_requeued_before_the_callback(app: Werk, tables: Tables, other: Callbacks) -> None:
    """A callback of an earlier end does not count for a later one: that one has its own called, and only that."""
    job = await app.enqueue(handlers.echo, **ALL)
    assert job is not None
    assert await app.cancel_job(job.id)
    (stale,) = await other.take(await tables.connect(), 1)
    assert await app.requeue_job(job.id)
    await burst(app)
    assert JobStatus.Complete is only_job().status
    other.ended(stale.key, Ending(), None)
    writing = asyncio.create_task(other.run())
    await tables.until(lambda: not len(other))
    writing.cancel()
    assert 0 == await owed(tables)


async def test_late_end_of_an_earlier_callback(app: Werk, tables: Tables, other: Callbacks) -> None:
    """Whoever has called the callback of an earlier end does not take away what is owed because of a later one."""
    job = await app.enqueue(handlers.echo, **ALL)
    assert job is not None
    assert await app.cancel_job(job.id)
    (stale,) = await other.take(await tables.connect(), 1)
    assert await app.requeue_job(job.id)
    assert await app.cancel_job(job.id)
    other.ended(stale.key, Ending(), None)
    writing = asyncio.create_task(other.run())
    await tables.until(lambda: not len(other))
    writing.cancel()
    assert 1 == await owed(tables)


async def test_tries_of_an_earlier_end(app: Werk, tables: Tables, other: Callbacks) -> None:
    """Tries to call a callback after one end of a job do not count after the next one."""
    job = await app.enqueue(handlers.echo, **ALL)
    assert job is not None
    connection = await tables.connect()
    assert await app.cancel_job(job.id)
    assert [1] == [each.number for each in await other.take(connection, 1)]
    assert await app.requeue_job(job.id)
    assert await app.cancel_job(job.id)
    assert [1] == [each.number for each in await other.take(connection, 1)]
    assert await app.requeue_job(job.id)
    (lost,) = await tables.claimer().claim(connection, 1)
    await tables.lapse(lost.worker_id)
    await app.sweep()
    assert [("on_failure", 1)] == [(each.due.option, each.number) for each in await other.take(connection, 1)]


async def test_deleted_while_the_callback_is_called(app: Werk, tables: Tables) -> None:
    """A job that is deleted while its callback runs disturbs nobody."""
    await app.enqueue(handlers.echo, _on_success=jobs.hang_in_callback)
    async with working(app, shutdown_timeout=0):
        await tables.until(lambda: jobs.calls)
        await app.delete_job(jobs.calls[0][1].id)
        assert 3 == await app.apply(handlers.echo, 3, timeout=10)


# Races


async def test_row_that_somebody_holds(app: Werk, tables: Tables, other: Callbacks, session: Session) -> None:
    """The end of a call waits for nobody: it is written down as soon as whoever holds the row lets it go."""
    job = await app.enqueue(handlers.echo, **ALL)
    assert job is not None
    assert await app.cancel_job(job.id)
    (taken,) = await other.take(await tables.connect(), 1)
    holder = await tables.connect()
    writing = asyncio.create_task(other.run())
    async with holder.transaction():
        await holder.execute(tables.sql("SELECT FROM {jobs} FOR UPDATE"))
        other.ended(taken.key, Ending(), None)
        await asyncio.sleep(0.2)
        assert 1 == len(other)
        async with asyncio.timeout(5), session.use() as connection:
            await connection.execute("SELECT 'results and heartbeats go this way, too'")
    await tables.until(lambda: not len(other))
    writing.cancel()
    assert 0 == await owed(tables)


async def owed_is_none(tables: Tables) -> bool:
    """Whether no callback is owed."""
    return not await owed(tables)


@pytest.mark.posix
async def test_worker_that_is_killed_before_the_callback(app: Werk, tables: Tables, start_worker: StartWorker) -> None:
    """When a worker is killed while it calls, another one calls within a lease and a heartbeat."""
    await app.enqueue(handlers.echo, _on_success=jobs.kill_worker_once)
    options = {"heartbeat_interval": 0.2, "sweep_interval": 0.5, "poll_interval": 0.5}
    victim = start_worker(**options)
    await tables.until(lambda: victim.exit_code == -9)
    assert 1 == await owed(tables)
    heir = start_worker(**options)
    await tables.until(lambda: owed_is_none(tables), 10)
    heir.terminate()
    await tables.until(lambda: heir.exit_code == 0)
    assert 1 == await tables.value("SELECT count(*) FROM {jobs} WHERE status = 'complete' AND callback_tries = 0")


# `_sync`


async def test_sync_job_calls_back_itself(app: Werk, tables: Tables) -> None:
    """What a `_sync` run has called itself, no worker calls again."""
    job = await app.enqueue(handlers.echo, _sync=True, **ALL)
    assert job is not None
    assert job.id == only_job().id
    assert 0 == await owed(tables)
    await let_pass(tables)
    await burst(app)
    assert 1 == len(jobs.calls)


async def test_sync_job_whose_caller_dies(app: Werk, tables: Tables) -> None:
    """When whoever has run a `_sync` job dies before its callback was called, a worker calls it, after a while."""
    with pytest.raises(SystemExit):
        await app.enqueue(handlers.echo, _sync=True, _on_success=jobs.leave_the_first_time)
    assert 1 == await owed(tables)
    await burst(app)
    assert 1 == len(jobs.calls)
    await let_pass(tables)
    await burst(app)
    assert 2 == len(jobs.calls)
    assert 0 == await owed(tables)


async def test_sync_callback_that_takes_too_long(app: Werk, tables: Tables, other: Callbacks) -> None:
    """A callback that a worker has taken up meanwhile stays with that worker, though the `_sync` run has called it."""
    jobs.forget_gates()
    enqueuing = asyncio.create_task(app.enqueue(handlers.echo, _sync=True, _on_success=jobs.gated_callback))
    await tables.until(lambda: jobs.calls)
    await let_pass(tables)
    assert 1 == len(await other.take(await tables.connect(), 1))
    jobs.gate("callback").set()
    assert await enqueuing is not None
    assert 1 == await owed(tables)


async def test_sync_job_in_a_transaction(app: Werk, tables: Tables) -> None:
    """In the caller's transaction, the callback is called before the commit, and owed to nobody after it."""
    connection = await tables.connect()
    async with connection.transaction():
        await app.enqueue(handlers.fail, _sync=True, _conn=connection, _failure_mode="delete", **ALL)
        assert JobStatus.Failed is only_job().status
    assert {} == await tables.counts()
