"""The life of jobs in a `ProcessWorker` and in a `ForkWorker`: as in any worker, and what their processes add to it."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests import handlers
from tests.worker import child_jobs
from tests.worker.conftest import Tables, working
from tests.worker.executing import appears, lives, until

from pgwerk import EnqueueParams, ForkWorker, Job, JobStatus, ProcessWorker, Werk, WerkConfig
from pgwerk._core.execution import Attempts, DueCallback, Ending, Work
from pgwerk.worker.execution import RunKey, Running

pytestmark = pytest.mark.posix

Kind = type[ProcessWorker] | type[ForkWorker]


@pytest.fixture(params=[ProcessWorker, ForkWorker], ids=["process", "fork"])
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each kind."""
    found: Kind = request.param
    return found


@pytest.fixture
async def app(dsn: str, schema: str) -> AsyncIterator[Werk]:
    """A client, with the tables in place."""
    async with Werk(dsn, schema=schema, pool_size=2, config=WerkConfig(sigterm_grace=2)) as app:
        yield app


async def run_all(app: Werk, kind: Kind, *specs: EnqueueParams) -> list[Job]:
    """Enqueue jobs and run them to their ends."""
    jobs = await app.enqueue_many(list(specs))
    await kind(app, concurrency=3, burst=True, handle_signals=False).run()
    return [await app.get_job(job.id) for job in jobs if job is not None]


async def test_endings(app: Werk, kind: Kind) -> None:
    """Coroutine functions and plain ones are run, and end as in any worker."""
    jobs = await run_all(
        app,
        kind,
        EnqueueParams(handlers.add, args=(2,), kwargs={"b": 3}),
        EnqueueParams(handlers.plain_echo, args=(["x"],)),
        EnqueueParams(handlers.fail, args=("no luck",)),
        EnqueueParams(handlers.bad_result),
        EnqueueParams(handlers.nul_in_error),
        EnqueueParams("tests.handlers.not_there"),
        EnqueueParams(handlers.add),
        EnqueueParams(child_jobs.dont_return, args=("exit",), retry=2),
    )
    assert [5, ["x"]] == [job.result for job in jobs[:2]]
    errors = [(job.error or "").splitlines() for job in jobs[2:]]
    assert ("Traceback (most recent call last):", "ValueError: no luck") == (errors[0][0], errors[0][-1])
    assert "handlers.py" in errors[0][1]
    assert "cannot serialize a value of type object" in errors[1][-1]
    assert "ValueError: before\\x00after \\ud800" == errors[2][-1]
    assert "not_there" in errors[3][-1]
    assert "missing 1 required positional argument" in errors[4][-1]
    # Not by itself: another one follows, later.
    assert (JobStatus.Scheduled, 1) == (jobs[-1].status, jobs[-1].attempts)
    assert "os._exit()" in errors[5][-1]
    assert {JobStatus.Failed} == {job.status for job in jobs[2:-1]}


async def test_context(app: Werk, kind: Kind) -> None:
    """Handlers of either flavour get a context, can enqueue with its client, and can ask the worker to stop."""
    first = [
        EnqueueParams(handlers.about_async, args=("word",)),
        EnqueueParams(handlers.plain_about, args=("word",)),
        EnqueueParams(child_jobs.about_worker),
        EnqueueParams(child_jobs.run_worker),
        EnqueueParams(child_jobs.nest),
    ]
    by_coroutine, by_function, worker, run, nested = await run_all(app, kind, *first)
    assert by_function.result is not None, by_function.error
    assert JobStatus.Complete is (await app.get_job(by_coroutine.result)).status
    assert ["word", by_function.id, "SyncWerk", True] == [by_function.result[at] for at in (0, 1, 3, 4)]
    assert JobStatus.Complete is (await app.get_job(by_function.result[2])).status
    assert [by_coroutine.worker_id, kind.kind, ["default"], 3, "SyncWerk"] == worker.result
    assert "the worker runs in another process" in (run.error or "")
    assert "cannot be made where a job of one runs" in (nested.error or "")


async def test_handlers_can_stop_the_worker(app: Werk, kind: Kind) -> None:
    """`ctx.worker.stop()` stops the worker in the other process."""
    job = await app.enqueue(child_jobs.stop_worker)
    assert job is not None
    async with asyncio.timeout(20):
        await kind(app, handle_signals=False).run()
    assert "stopped" == (await app.get_job(job.id)).result


async def test_time_out(app: Werk, kind: Kind, tmp_path: Path) -> None:
    """A job that takes too long is stopped, coroutine or not, and the error shows where it was."""
    jobs = await run_all(
        app,
        kind,
        EnqueueParams(child_jobs.note_and_wait, args=(str(tmp_path),), timeout=1),
        EnqueueParams(handlers.hang, timeout=1),
    )
    for job in jobs:
        assert JobStatus.Failed is job.status
        assert "JobTimeout: the job ran for longer than its time-out of 1 s" in (job.error or "")
    assert "in note_and_wait" in (jobs[0].error or "")
    assert (tmp_path / "cleaned up: started").exists()


async def test_shutdown_gives_back(app: Werk, kind: Kind, tables: Tables, tmp_path: Path) -> None:
    """What runs when the worker is stopped is stopped, and given back without an attempt counted."""
    job = await app.enqueue(child_jobs.note_and_wait, str(tmp_path))
    assert job is not None
    async with working(app, kind, shutdown_timeout=0.05):
        pid = await appears(tmp_path, "started")
    job = await app.get_job(job.id)
    assert (JobStatus.Queued, 0) == (job.status, job.attempts)
    assert await tables.counts_are(queued=1)
    await until(lambda: not lives(pid))


async def test_cancelled_run(app: Werk, kind: Kind, tmp_path: Path) -> None:
    """Cancelling `run()` stops what runs as well, and gives it back."""
    job = await app.enqueue(child_jobs.note_and_wait, str(tmp_path))
    assert job is not None
    task = asyncio.create_task(kind(app, handle_signals=False).run())
    pid = await appears(tmp_path, "started")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    job = await app.get_job(job.id)
    assert (JobStatus.Queued, 0) == (job.status, job.attempts)
    assert not lives(pid)


async def test_callbacks(app: Werk, kind: Kind, tables: Tables, caplog: pytest.LogCaptureFixture) -> None:
    """A callback runs in a child as well; its error is told, and its result need not be anything that can be sent."""
    await app.enqueue(handlers.echo, 1)
    claimer = tables.claimer()
    (claimed,) = await claimer.claim(await tables.connect(), 1)
    worker = kind(app)
    executor = worker._executor(Attempts(app.serializer, worker._context))
    await executor.start()
    try:
        endings = []
        for func in (child_jobs.called_back, child_jobs.explode):
            due = DueCallback("on_success", f"{func.__module__}.{func.__qualname__}", None)
            running = Running(Work(claimed, due), RunKey(claimed.id, 1, is_callback=True), 60)
            endings.append(await executor.execute(running))
    finally:
        await executor.close()
    fine, failed = endings
    assert Ending() == fine
    assert isinstance(failed, Ending)
    assert isinstance(failed.error, TypeError)
    assert "called back for tests.handlers.echo" in caplog.text


PROGRAM = """
import asyncio, sys
from pgwerk import ForkWorker, ProcessWorker, SyncWerk

def handler():
    return "found"

def main():
    app = SyncWerk(sys.argv[2], schema=sys.argv[3])
    app.enqueue(handler)
    worker = getattr(sys.modules["pgwerk"], sys.argv[1])(app, burst=True, poll_interval=0.1)
    asyncio.run(worker.run())

"""


@pytest.mark.parametrize("guard", ["if __name__ == '__main__':", "if True:"])
async def test_handlers_of_the_program(app: Werk, kind: Kind, tmp_path: Path, guard: str) -> None:
    """A handler may be defined in the program that runs the worker, unless to import that would run it once more."""
    script = tmp_path / "own_program.py"
    script.write_text(f"{PROGRAM}{guard}\n    main()\n")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        kind.__name__,
        app.dsn,
        app.config.schema,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert 0 == await process.wait()
    (job,) = await app.list_jobs()
    if "__name__" in guard:
        assert "found" == job.result
    else:
        assert "own_program.handler is defined in the program that runs the worker" in (job.error or "")


async def test_logs_of_the_client(app: Werk, kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    """What is logged about a job by its handler carries the job's id, whichever process it came from."""
    caplog.set_level(logging.INFO, "tests.child_jobs")
    (job,) = await run_all(app, kind, EnqueueParams(child_jobs.log, args=("hello",)))
    (record,) = [record for record in caplog.records if record.getMessage() == "hello"]
    assert job.id == record.job_id  # type: ignore[attr-defined]
    assert record.process != logging.makeLogRecord({}).process
