"""The end of a worker: what becomes of what runs, and what is said about it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from tests import handlers
from tests.worker import jobs
from tests.worker.conftest import Tables

from pgwerk import AsyncWorker, BaseWorker, Job, JobStatus, ThreadWorker, Werk
from pgwerk.worker.leaving import EXIT_SECS


@pytest.fixture(autouse=True)
async def closed_door() -> AsyncIterator[None]:
    """What cannot be stopped goes on until the end of the test."""
    jobs.door.clear()
    jobs.inside.clear()
    yield
    jobs.door.set()


async def enqueued(app: Werk, handler: Any, *args: Any, **options: Any) -> Job:
    """A job."""
    job = await app.enqueue(handler, *args, **options)
    assert job is not None
    return job


async def stopped(
    app: Werk,
    tables: Tables,
    running: int = 1,
    *,
    kind: type[BaseWorker] = AsyncWorker,
    before: Callable[[], Any] = lambda: None,
    now: bool = False,
    **options: Any,
) -> BaseWorker:
    """A worker that was stopped while so many jobs ran, and has ended within a few seconds."""
    defaults: dict[str, Any] = {"shutdown_timeout": 0, "exits_hard": True, "poll_interval": 0.2}
    worker = kind(app, handle_signals=False, **{**defaults, **options})
    task = asyncio.create_task(worker.run())
    await tables.until(lambda: tables.value("SELECT count(*) = 1 FROM {workers}"))
    await tables.until(lambda: tables.value("SELECT count(*) = %s FROM {jobs} WHERE status = 'active'", running))
    waited = before()
    if waited is not None:
        await waited
    worker.stop(now=now)
    async with asyncio.timeout(15):
        await task
    return worker


@pytest.fixture
def hurried(app: Werk) -> Werk:
    """An application that tells deaf handlers again soon."""
    return Werk(app.dsn, schema=app.config.schema, config={"sigterm_grace": 0.2})


@pytest.mark.parametrize("kind", [AsyncWorker, ThreadWorker])
@pytest.mark.parametrize("handler", [jobs.plain_gated, jobs.deaf])
@pytest.mark.parametrize("now", [False, True])
async def test_what_cannot_be_stopped_is_given_back_for_later(
    hurried: Werk, tables: Tables, kind: type[BaseWorker], handler: Any, now: bool
) -> None:
    """A worker that exits hard does not wait: the job is due when the process is gone, as if it had never started."""
    job = await enqueued(hurried, handler)
    # A coroutine that is cancelled before its first step could be stopped.
    is_inside = (lambda: tables.until(jobs.inside.is_set)) if handler is jobs.deaf else lambda: None
    worker = await stopped(hurried, tables, kind=kind, now=now, shutdown_timeout=60 if now else 0, before=is_inside)
    assert worker.has_left_running
    left = await hurried.get_job(job.id)
    assert (JobStatus.Scheduled, 0) == (left.status, left.attempts)
    assert (None, None) == (left.worker_id, left.started_at)
    assert [] == await hurried.get_executions(job.id)
    due_in = await tables.value("SELECT extract(epoch FROM scheduled_at - now())::float8 FROM {jobs}")
    assert EXIT_SECS - 6 < due_in <= EXIT_SECS
    assert 0 == await tables.value("SELECT count(*) FROM {workers}")


async def test_late_result_changes_nothing(hurried: Werk, tables: Tables) -> None:
    """What the handler returns in the time that is left to it is dropped: the job is another worker's by then."""
    job = await enqueued(hurried, jobs.plain_gated)
    await stopped(hurried, tables)
    await tables.rows("UPDATE {jobs} SET scheduled_at = now()")
    second = AsyncWorker(hurried, handle_signals=False, poll_interval=0.2)
    task = asyncio.create_task(second.run())
    await tables.until(lambda: tables.counts_are(active=1))
    jobs.door.set()
    await tables.until(lambda: tables.counts_are(complete=1))
    second.stop()
    await task
    assert ("opened", 1) == ((done := await hurried.get_job(job.id)).result, done.attempts)
    (execution,) = await hurried.get_executions(job.id)
    assert second.id == execution.worker_id


async def test_nothing_is_left_when_all_could_be_stopped(app: Werk, tables: Tables) -> None:
    """A coroutine is cancelled and may start at once, also with a worker that exits hard."""
    job = await enqueued(app, handlers.hang)
    worker = await stopped(app, tables)
    assert not worker.has_left_running
    assert job == await app.get_job(job.id)


async def test_group_is_not_given_back_while_its_job_runs(hurried: Werk, tables: Tables) -> None:
    """A job of a group is left to be rescued: given back, it would let the next one start while it still runs."""
    await enqueued(hurried, jobs.plain_gated, _group="one")
    worker = await stopped(hurried, tables)
    assert worker.has_left_running
    assert {"active": 1} == await tables.counts()
    assert 1 == await tables.value("SELECT count(*) FROM {workers}")


@pytest.mark.parametrize(("attempts", "status"), [(1, JobStatus.Failed), (2, JobStatus.Scheduled)])
async def test_attempt_that_took_too_long_counts(
    hurried: Werk, tables: Tables, attempts: int, status: JobStatus
) -> None:
    """A thread that has run into its time-out fails its attempt, and no other one starts while it still runs."""
    job = await enqueued(hurried, jobs.plain_gated, _timeout=1, _retry=attempts)

    async def time_out() -> None:
        await tables.until(lambda: tables.value("SELECT now() - started_at > interval '1.2 s' FROM {jobs}"))

    await stopped(hurried, tables, before=time_out)
    assert (status, 1) == ((left := await hurried.get_job(job.id)).status, left.attempts)
    (execution,) = await hurried.get_executions(job.id)
    assert "time-out of 1 s" in (execution.error or "")
    if status is JobStatus.Scheduled:
        assert await tables.value("SELECT scheduled_at > now() + interval '4 s' FROM {jobs}")


async def test_aborted_job_stays_aborted(hurried: Werk, tables: Tables) -> None:
    """What was to be aborted and could not be stopped does not run again."""
    job = await enqueued(hurried, jobs.plain_gated)
    await stopped(hurried, tables, before=lambda: hurried.abort_job(job.id))
    assert JobStatus.Aborted is (await hurried.get_job(job.id)).status


async def test_ttl_begins_when_it_is_due(hurried: Werk, tables: Tables) -> None:
    """A job that was given back for later has its whole time to live from then on."""
    await enqueued(hurried, jobs.plain_gated, _ttl=60)
    await stopped(hurried, tables)
    assert 60 == await tables.value("SELECT extract(epoch FROM expires_at - scheduled_at)::integer FROM {jobs}")


async def test_process_goes_as_soon_as_possible(hurried: Werk, tables: Tables) -> None:
    """Nobody waits `sigterm_grace` for threads, which are deaf to everything."""
    patient = Werk(hurried.dsn, schema=hurried.config.schema, config={"sigterm_grace": 60})
    await enqueued(patient, jobs.plain_gated)
    began = time.monotonic()
    await stopped(patient, tables)
    assert time.monotonic() - began < 10


async def test_callback_that_cannot_be_stopped(hurried: Werk, tables: Tables, caplog: pytest.LogCaptureFixture) -> None:
    """A callback that still runs is left to its lease, and the worker ends."""
    caplog.set_level("INFO", "pgwerk.worker")
    await enqueued(hurried, handlers.echo, _on_success=jobs.deaf_callback)
    worker = AsyncWorker(hurried, handle_signals=False, shutdown_timeout=0, exits_hard=True)
    task = asyncio.create_task(worker.run())
    await tables.until(jobs.inside.is_set)
    worker.stop()
    async with asyncio.timeout(15):
        await task
    assert worker.has_left_running
    assert 1 == await tables.value("SELECT count(*) FROM {jobs} WHERE callback_due > now()")
    assert "stopping at once: 1 callback runs" in caplog.messages


async def test_worker_says_what_became_of_its_jobs(
    hurried: Werk, tables: Tables, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says how many jobs run when the worker stops, and then what has become of each that has not ended."""
    caplog.set_level("INFO", "pgwerk.worker")
    hanging = await enqueued(hurried, handlers.hang)
    blocked = await enqueued(hurried, jobs.plain_gated)
    grouped = await enqueued(hurried, jobs.plain_gated, _group="one")
    await enqueued(hurried, handlers.stubborn, 0.5)
    await stopped(hurried, tables, 4, shutdown_timeout=1)
    assert "stopping: 4 jobs run, and may take 1 s to end" in caplog.messages
    assert f"job {hanging.id} (tests.handlers.hang) was given back, and may start at once" in caplog.messages
    assert (
        f"job {blocked.id} (tests.worker.jobs.plain_gated) could not be stopped: it was given back, and may start in "
        "10 s, when this process is gone"
    ) in caplog.messages
    assert (
        f"job {grouped.id} (tests.worker.jobs.plain_gated) could not be stopped: it is rescued when the worker's lease "
        "is over"
    ) in caplog.messages
    assert "4 jobs ran: 1 ended, 1 given back, 2 could not be stopped" in caplog.messages


async def test_worker_has_little_to_say_when_nothing_runs(
    app: Werk, tables: Tables, caplog: pytest.LogCaptureFixture
) -> None:
    """Without running jobs the log says just that."""
    caplog.set_level("INFO", "pgwerk.worker")
    await stopped(app, tables, 0)
    assert "stopping: no job runs" in caplog.messages
    assert not [message for message in caplog.messages if " ran: " in message]


async def test_results_that_could_not_be_settled_are_told(
    hurried: Werk, tables: Tables, caplog: pytest.LogCaptureFixture
) -> None:
    """What the database does not take is not counted as given back."""
    caplog.set_level("INFO", "pgwerk.worker")
    job = await enqueued(hurried, handlers.hang)
    holder = await tables.connect()

    async def hold() -> None:
        await holder.execute("BEGIN")
        await holder.execute(tables.sql("SELECT FROM {jobs} WHERE id = %s FOR UPDATE"), [job.id])

    await stopped(hurried, tables, before=hold)
    await holder.execute("ROLLBACK")
    assert "1 job ran: 1 could not be settled" in caplog.messages
