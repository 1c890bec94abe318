"""What holds for all kinds of workers, and for those that run handlers in their own process."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import handlers
from tests.worker import jobs
from tests.worker.conftest import Tables, ended

from pgwerk import (
    AsyncWorker,
    BaseWorker,
    EnqueueParams,
    ForkWorker,
    Job,
    JobStatus,
    ProcessWorker,
    SyncWerk,
    ThreadWorker,
    Werk,
)

IN_PROCESS: list[type[BaseWorker]] = [AsyncWorker, ThreadWorker]
KINDS = [*IN_PROCESS, *(pytest.param(each, marks=pytest.mark.posix) for each in (ProcessWorker, ForkWorker))]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.kind)
def kind(request: pytest.FixtureRequest) -> type[BaseWorker]:
    """A kind of worker."""
    made: type[BaseWorker] = request.param
    return made


@pytest.fixture(params=IN_PROCESS, ids=lambda kind: kind.kind)
def kind_in_process(request: pytest.FixtureRequest) -> type[BaseWorker]:
    """A kind of worker that runs handlers in its own process."""
    made: type[BaseWorker] = request.param
    return made


@pytest.fixture
def working_directory() -> Iterator[str]:
    """The working directory, which is put back."""
    before = os.getcwd()
    yield before
    os.chdir(before)


async def run(kind: type[BaseWorker], app: Werk, func: Any, *args: Any, **options: Any) -> Job:
    """Enqueue a job, and run it to its end."""
    job = await app.enqueue(func, *args, **options)
    assert job is not None
    await asyncio.wait_for(kind(app, burst=True, handle_signals=False, shutdown_timeout=0).run(), 30)
    return await app.get_job(job.id)


# Where handlers run


async def test_where_handlers_run(app: Werk) -> None:
    """A `ThreadWorker` runs every handler in a thread, coroutines as well; an `AsyncWorker` only plain functions."""
    assert ["pgwerk-handler"] == (await run(AsyncWorker, app, jobs.where)).result
    assert ["pgwerk-handler"] == (await run(ThreadWorker, app, jobs.where)).result
    assert ["MainThread", "Werk", True] == (await run(AsyncWorker, app, jobs.where_async)).result
    assert ["pgwerk-handler", "Werk", True] == (await run(ThreadWorker, app, jobs.where_async)).result


async def test_handlers_block_only_their_thread(app: Werk, tables: Tables) -> None:
    """In a `ThreadWorker`, coroutines that block run side by side, and hold up nothing else."""
    await app.enqueue_many([EnqueueParams(jobs.block, (0.5,)) for _ in range(8)])
    began = time.monotonic()
    await ThreadWorker(app, concurrency=8, burst=True, handle_signals=False).run()
    assert time.monotonic() - began < 3
    assert {"complete": 8} == await tables.counts()


# Stopping


async def test_coroutine_is_stopped_after_its_time(kind: type[BaseWorker], app: Werk) -> None:
    """A coroutine is cancelled after its time-out, wherever it runs; its error shows where it was."""
    began = time.monotonic()
    job = await run(kind, app, handlers.hang, _timeout=1)
    assert time.monotonic() - began < 10
    assert JobStatus.Failed is job.status
    assert "pgwerk.JobTimeout: the job ran for longer than its time-out of 1 s" in (job.error or "").replace(
        "_core.errors.", ""
    )
    assert "await asyncio.Event().wait()" in (job.error or "")


async def test_shutdown_gives_back(kind: type[BaseWorker], app: Werk, tables: Tables) -> None:
    """A coroutine that runs when the worker has to stop is cancelled, and its job given back."""
    await app.enqueue(handlers.hang)
    worker = kind(app, handle_signals=False, shutdown_timeout=0)
    task = asyncio.create_task(worker.run())
    await tables.until(lambda: tables.counts_are(active=1))
    worker.stop()
    await ended(worker, task)
    assert [("queued", 0)] == await tables.rows("SELECT status, attempts FROM {jobs}")


async def test_handlers_that_stop_the_worker(kind: type[BaseWorker], app: Werk, tables: Tables) -> None:
    """A worker that is stopped by its handlers, several at a time, lets them end."""
    await app.enqueue_many([EnqueueParams(jobs.stop_worker, (0.5,)) for _ in range(3)])
    await asyncio.wait_for(kind(app, handle_signals=False, shutdown_timeout=20).run(), 30)
    assert {"complete": 3} == await tables.counts()
    assert 0 == await tables.value("SELECT count(*) FROM {workers}")


async def test_handler_that_stops_the_worker_at_once(kind: type[BaseWorker], app: Werk, tables: Tables) -> None:
    """`ctx.worker.stop(now=True)` does not let others end; they are given back."""
    await app.enqueue(handlers.hang, _priority=1)
    await app.enqueue(jobs.stop_worker, 0, now=True)
    await asyncio.wait_for(kind(app, handle_signals=False, shutdown_timeout=60).run(), 30)
    assert ("queued", 0) in await tables.rows("SELECT status, attempts FROM {jobs}")
    assert 0 == await tables.value("SELECT count(*) FROM {jobs} WHERE status = 'active'")


@pytest.mark.posix
async def test_second_signal(app: Werk, tables: Tables) -> None:
    """After a first SIGTERM, a worker waits for a thread that cannot be stopped; after a second one it does not."""
    jobs.door.clear()
    await app.enqueue(jobs.plain_gated)
    worker = AsyncWorker(app, shutdown_timeout=0)
    task = asyncio.create_task(worker.run())
    await tables.until(lambda: tables.counts_are(active=1))
    os.kill(os.getpid(), signal.SIGTERM)
    done, _ = await asyncio.wait([task], timeout=0.5)
    assert not done
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(task, 10)
    jobs.door.set()
    assert {"active": 1} == await tables.counts()


@pytest.mark.posix
async def test_report_that_comes_too_late(app: Werk) -> None:
    """SIGUSR1 does not kill the process when the worker has just ended."""
    before = signal.getsignal(signal.SIGUSR1)
    await AsyncWorker(app, burst=True).run()
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("way", ["time-out", "abort", "stop"])
async def test_coroutine_that_swallows_its_cancellation(
    kind: type[BaseWorker], app: Werk, tables: Tables, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A coroutine that swallows its cancellation, and goes on, is cancelled again after `sigterm_grace`, or killed."""
    hurried = Werk(tables.dsn, schema=tables.schema, config={"sigterm_grace": 1})
    worker = kind(hurried, handle_signals=False, shutdown_timeout=0, abort_interval=0.05)
    task = asyncio.create_task(worker.run())
    job = await app.enqueue(jobs.swallow_once, _timeout=1 if way == "time-out" else None)
    assert job is not None
    await tables.until(lambda: tables.counts_are(active=1))
    await asyncio.sleep(0.5)
    if way == "abort":
        assert await app.abort_job(job.id)
    if way != "stop":
        status = {"time-out": JobStatus.Failed, "abort": JobStatus.Aborted}[way]
        assert status is (await app.wait_for(job.id, timeout=10)).status
    worker.stop()
    await ended(worker, task)
    await hurried.disconnect()
    if way == "stop":
        assert {"queued": 1} == await tables.counts()
    assert "does not end, 1 s after it was told to" in caplog.text


async def test_aborted_coroutine(kind: type[BaseWorker], app: Werk, tables: Tables) -> None:
    """A coroutine whose job is aborted is cancelled, and the worker goes on with the next one."""
    worker = kind(app, handle_signals=False, abort_interval=0.05)
    task = asyncio.create_task(worker.run())
    job = await app.enqueue(handlers.hang)
    assert job is not None
    await tables.until(lambda: tables.counts_are(active=1))
    assert await app.abort_job(job.id)
    assert "aborted on request" == (await app.wait_for(job.id, timeout=10)).error
    assert 1 == await app.apply(handlers.echo, 1, timeout=10)
    worker.stop()
    await ended(worker, task)


# Surprises


@pytest.mark.parametrize("name", [*jobs.SURPRISES, "RecursionError"])
@pytest.mark.parametrize("handler", [jobs.surprise, jobs.plain_surprise])
async def test_surprises(kind: type[BaseWorker], app: Werk, handler: Any, name: str) -> None:
    """Whatever a handler raises ends its attempt with an error that names it, and nothing else."""
    after = await app.enqueue(handlers.echo, "after", _priority=-1)
    assert after is not None
    job = await run(kind, app, handler, name)
    expected = (
        "RuntimeError: coroutine raised StopIteration" if (name, handler) == ("StopIteration", jobs.surprise) else name
    )
    assert JobStatus.Failed is job.status
    assert expected in (job.error or "")
    assert "after" == (await app.get_job(after.id)).result


async def test_tasks_that_are_left_behind(app: Werk) -> None:
    """On the loop of a thread, what a coroutine leaves behind is cancelled, as `asyncio.run` does."""
    await app.enqueue(jobs.is_task_cancelled, _priority=-1)
    await app.enqueue(jobs.leave_task_behind)
    await ThreadWorker(app, concurrency=1, burst=True, handle_signals=False).run()
    assert [True, None] == [job.result for job in await app.list_jobs()]


async def test_loop_that_is_stopped(app: Werk, tables: Tables) -> None:
    """In a thread, a coroutine that stops its event loop harms only itself."""
    await app.enqueue(handlers.echo, _priority=-1)
    job = await run(ThreadWorker, app, jobs.close_loop)
    assert job.status in (JobStatus.Failed, JobStatus.Complete)
    assert 0 == await tables.value("SELECT count(*) FROM {jobs} WHERE completed_at IS NULL")


@pytest.mark.usefixtures("working_directory")
async def test_working_directory(
    kind_in_process: type[BaseWorker], app: Werk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler that changes the working directory does not keep the worker from finding modules that lie there."""
    kind = kind_in_process
    name = f"late_{kind.kind}"
    (tmp_path / f"{name}.py").write_text("def found():\n    return __name__\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    await app.enqueue(f"{name}.found", _priority=-1)
    sys.modules.pop(name, None)
    importlib.invalidate_caches()
    await app.enqueue(jobs.change_directory)
    await kind(app, concurrency=1, burst=True, handle_signals=False).run()
    assert [name, None] == [job.result for job in await app.list_jobs()]


# The watchdog


async def test_blocked_loop_keeps_the_lease(app: Werk, tables: Tables, caplog: pytest.LogCaptureFixture) -> None:
    """A coroutine that blocks the event loop for longer than a lease keeps its job, and the log shows which it is."""
    job = await app.enqueue(jobs.block, 3.0)
    assert job is not None
    rescued: list[str] = []
    enough = threading.Event()

    def rescue() -> None:
        with SyncWerk(tables.dsn, schema=tables.schema) as other:
            while not enough.wait(0.1):
                rescued.extend(other.sweep())

    thread = threading.Thread(target=rescue)
    thread.start()
    worker = AsyncWorker(app, burst=True, handle_signals=False, heartbeat_interval=0.3)
    await worker.run()
    enough.set()
    thread.join()
    assert [] == rescued
    found = await app.get_job(job.id)
    assert ("blocked", 1) == (found.result, found.attempts)
    assert re.search(rf"blocked for \d\.\d s by job {job.id} \(tests.worker.jobs.block\)", caplog.text)
    assert "time.sleep(secs)" in caplog.text
    assert "the event loop was blocked for" in caplog.text


async def test_loop_that_is_not_blocked(app: Werk, caplog: pytest.LogCaptureFixture) -> None:
    """A worker whose handlers only wait is not accused."""
    job = await app.enqueue(handlers.stubborn, 1.0)
    assert job is not None
    await AsyncWorker(app, burst=True, handle_signals=False, heartbeat_interval=0.3).run()
    assert "blocked" not in caplog.text


# Reports


@pytest.mark.posix
@pytest.mark.parametrize("handler", [handlers.hang, jobs.plain_gated])
async def test_report(
    kind_in_process: type[BaseWorker], app: Werk, tables: Tables, caplog: pytest.LogCaptureFixture, handler: Any
) -> None:
    """SIGUSR1 makes a worker log what runs, since when, and where it is."""
    jobs.door.clear()
    job = await app.enqueue(handler)
    assert job is not None
    worker = kind_in_process(app, shutdown_timeout=0)
    task = asyncio.create_task(worker.run())
    await tables.until(lambda: tables.counts_are(active=1))
    where = "await asyncio.Event().wait()" if handler is handlers.hang else "door.wait()"

    async def is_reported() -> bool:
        # The job is active before its handler is where it waits.
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.sleep(0.1)
        return where in caplog.text

    await tables.until(is_reported)
    assert f"job {job.id} ({job.function}), attempt 1 of 1" in caplog.text
    assert "runs 1 handlers and callbacks" in caplog.text
    jobs.door.set()
    worker.stop()
    await ended(worker, task)


@pytest.mark.posix
@pytest.mark.parametrize("kind", [ProcessWorker, ForkWorker])
@pytest.mark.parametrize("name", ["plain_sleep", "stubborn"])
async def test_report_about_children(
    kind: type[BaseWorker], app: Werk, tables: Tables, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """What runs in another process is reported with the stack that it has there, a coroutine with what it awaits."""
    job = await app.enqueue(f"tests.handlers.{name}", 60, _retry=2)
    assert job is not None
    worker = kind(app, shutdown_timeout=0)
    task = asyncio.create_task(worker.run())
    await tables.until(lambda: tables.counts_are(active=1))

    async def is_reported() -> bool:
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.sleep(0.1)
        return f"in {name}" in caplog.text

    await tables.until(is_reported)
    assert "/pgwerk/worker/" not in caplog.text
    worker.stop()
    worker.stop(now=True)
    await ended(worker, task)


@pytest.mark.posix
async def test_report_while_the_loop_is_blocked(app: Werk, caplog: pytest.LogCaptureFixture) -> None:
    """A worker whose event loop is blocked reports all the same."""
    await app.enqueue(jobs.block, 2.5)
    worker = AsyncWorker(app, burst=True)
    threading.Timer(1.8, worker.report).start()
    await worker.run()
    assert 2 <= caplog.text.count("time.sleep(secs)")
    assert "runs 1 handlers and callbacks" in caplog.text


# Logs


async def test_records_carry_the_job(kind: type[BaseWorker], app: Werk) -> None:
    """Every record that a handler logs carries the id of its job, unless it has a `job_id` of its own."""
    records: list[Any] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(getattr(record, "job_id", None))

    collector = Collector()
    logging.getLogger("some.application").addHandler(collector)
    try:
        job = await run(kind, app, jobs.log_something)
    finally:
        logging.getLogger("some.application").removeHandler(collector)
    assert [job.id, "mine"] == records


async def test_records_about_the_job(kind: type[BaseWorker], app: Werk) -> None:
    """What the worker itself logs about the end of an attempt carries the id of the job, too."""
    records: list[logging.LogRecord] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    collector = Collector()
    logging.getLogger("pgwerk.jobs").addHandler(collector)
    try:
        job = await run(kind, app, handlers.fail, _on_failure=handlers.fail)
    finally:
        logging.getLogger("pgwerk.jobs").removeHandler(collector)
    assert [job.id, job.id] == [getattr(each, "job_id", None) for each in records]
    assert "attempt 1 of 1" in records[0].getMessage()
    assert "on_failure of job" in records[1].getMessage()


# Running a worker without asyncio


@pytest.mark.parametrize(
    ("name", "thread"),
    [("async", "pgwerk-handler"), ("thread", "pgwerk-handler"), ("process", "MainThread"), ("fork", "MainThread")],
)
async def test_blocking_run(app: Werk, tables: Tables, name: Any, thread: str) -> None:
    """`SyncWerk.run` runs a worker until it is stopped, without any asyncio code of the caller's."""
    job = await app.enqueue(jobs.where, _queue="q")
    assert job is not None

    def work() -> None:
        with SyncWerk(tables.dsn, schema=tables.schema) as client:
            client.run(["q"], 2, kind=name, burst=True)

    await asyncio.to_thread(work)
    assert [thread] == (await app.get_job(job.id)).result


async def test_run(app: Werk) -> None:
    """`Werk.run` runs a worker of the kind that is asked for."""
    job = await app.enqueue(jobs.where_async)
    assert job is not None
    await app.run(kind="thread", burst=True)
    assert "pgwerk-handler" == (await app.get_job(job.id)).result[0]


async def test_run_of_an_unknown_kind(app: Werk) -> None:
    """A kind that does not exist is refused, and those that do are named."""
    with pytest.raises(ValueError, match=r"kind must be one of 'async', 'thread'.*, not 'greenlet'"):
        await app.run(kind="greenlet")  # type: ignore[arg-type]


async def test_blocking_run_inside_a_loop(dsn: str) -> None:
    """`SyncWerk.run` inside a running event loop says what to do instead of hanging."""
    with pytest.raises(RuntimeError, match=r"await run\(\) instead"):
        SyncWerk(dsn).run()


# Memory


@pytest.mark.posix
async def test_memory_is_recorded(app: Werk) -> None:
    """What the process of an attempt took up at most is on record with the attempt, where it had one of its own."""
    forked = await run(ForkWorker, app, handlers.take_memory, 60)
    (execution,) = await app.get_executions(forked.id)
    assert execution.max_memory is not None
    assert 60_000_000 < execution.max_memory < 400_000_000
    shared = await run(AsyncWorker, app, handlers.echo)
    assert [None] == [each.max_memory for each in await app.get_executions(shared.id)]
