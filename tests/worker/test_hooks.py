"""What users have called around handlers: hooks and exception handlers."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from contextvars import ContextVar
from typing import Any

import pytest
from tests import handlers
from tests.worker.conftest import Tables, ended

from pgwerk import AsyncWorker, Context, Job, JobStatus, JobTimeout, Retry, SyncWerk, Werk

variable: ContextVar[str] = ContextVar("variable", default="unset")


async def read_variable() -> str:
    """What a hook has set."""
    return variable.get()


def read_variable_in_thread() -> str:
    """What a hook has set, as a plain function sees it."""
    return variable.get()


async def run(app: Werk, worker: AsyncWorker, func: Any, *args: Any, **options: Any) -> Job:
    """Run one job."""
    job = await app.enqueue(func, *args, **options)
    assert job is not None
    await worker.run()
    return await app.get_job(job.id)


def burst(app: Werk, **options: Any) -> AsyncWorker:
    """A worker that stops when there is nothing to do."""
    return AsyncWorker(app, burst=True, handle_signals=False, **options)


async def test_hooks_run_in_order(app: Werk) -> None:
    """Hooks are called in the order in which they were given or added, before and after the handler."""
    seen: list[Any] = []

    async def first(ctx: Context) -> None:
        seen.append(("first", ctx.job.id, ctx.exception, type(ctx.app)))

    def second(ctx: Context) -> None:
        seen.append(("second", threading.current_thread() is threading.main_thread(), type(ctx.app)))

    worker = burst(app, before_process=[first], after_process=first)
    worker.add_before_process(second)
    worker.add_after_process(second)
    job = await run(app, worker, handlers.echo)
    assert JobStatus.Complete is job.status
    once = [("first", job.id, None, Werk), ("second", False, SyncWerk)]
    assert [*once, *once] == seen


async def test_after_hooks_get_the_exception(app: Werk) -> None:
    """`ctx.exception` is what the handler raised, with its type."""
    seen: list[Any] = []
    await run(app, burst(app, after_process=lambda ctx: seen.append(ctx.exception)), handlers.fail, "no luck")
    assert [ValueError] == [type(each) for each in seen]
    assert "no luck" == str(seen[0])


async def test_after_hooks_get_the_time_out(app: Werk) -> None:
    """After a time-out, hooks and exception handlers get a `JobTimeout`."""
    seen: list[Any] = []
    worker = burst(app, after_process=lambda ctx: seen.append(ctx.exception))
    worker.push_exception_handler(lambda _, error: seen.append(error))
    await run(app, worker, handlers.hang, _timeout=1)
    assert [JobTimeout, JobTimeout] == [type(each) for each in seen]


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError])
async def test_hook_that_raises(app: Werk, caplog: pytest.LogCaptureFixture, error: type[BaseException]) -> None:
    """A hook that raises, whatever it is, is logged with its name; job and worker go on, and so do the other hooks."""
    seen: list[Context] = []

    def broken(_: Context) -> None:
        raise error("of the hook")

    async def broken_coroutine(_: Context) -> None:
        raise error("of the hook")

    worker = burst(app, before_process=[broken, broken_coroutine], after_process=[broken, seen.append])
    job = await run(app, worker, handlers.echo, 1)
    assert (JobStatus.Complete, 1) == (job.status, job.result)
    assert 1 == len(seen)
    assert 2 == caplog.text.count("test_hook_that_raises.<locals>.broken failed in job")
    assert 1 == caplog.text.count("test_hook_that_raises.<locals>.broken_coroutine failed in job")


@pytest.mark.parametrize("handler", [read_variable, read_variable_in_thread])
async def test_handlers_see_what_hooks_set(app: Werk, handler: Any) -> None:
    """A context variable that a hook sets is there in the handler, in whichever threads they run."""

    def plain(_: Context) -> None:
        variable.set("plain")

    async def coroutine(_: Context) -> None:
        variable.set(variable.get() + " and coroutine")

    job = await run(app, burst(app, before_process=[plain, coroutine]), handler)
    assert "plain and coroutine" == job.result
    assert "unset" == variable.get()


async def test_exception_handlers(app: Werk) -> None:
    """They are called when an attempt has failed, the last one first, each with the job and the exception."""
    seen: list[Any] = []
    worker = burst(app)

    async def coroutine(job: Job, error: BaseException) -> None:
        seen.append(("coroutine", job.attempts, str(error)))

    worker.push_exception_handler(lambda job, error: seen.append(("first", job.id, type(error))))
    worker.push_exception_handler(coroutine)
    worker.push_exception_handler(print)
    assert print is worker.pop_exception_handler()
    job = await run(app, worker, handlers.fail, "x", _retry=Retry(max=2, intervals=0))
    first = ("first", job.id, ValueError)
    assert [("coroutine", 1, "x"), first, ("coroutine", 2, "x"), first] == seen


async def test_exception_handler_that_has_seen_to_it(app: Werk) -> None:
    """An exception handler that returns False keeps those from being called that were pushed before."""
    seen: list[Any] = []
    worker = burst(app)
    worker.push_exception_handler(lambda *_: seen.append("not called"))
    worker.push_exception_handler(lambda *_: False)
    await run(app, worker, handlers.fail)
    assert [] == seen


async def test_exception_handler_that_raises(app: Werk, caplog: pytest.LogCaptureFixture) -> None:
    """One that raises is logged, the others are called, and the job fails with its own error."""
    seen: list[Any] = []
    worker = burst(app)
    worker.push_exception_handler(lambda *_: seen.append("called"))

    def broken(*_: object) -> None:
        raise KeyError("broken")

    worker.push_exception_handler(broken)
    job = await run(app, worker, handlers.fail, "its own")
    assert ["called"] == seen
    assert "its own" in (job.error or "")
    assert "broken failed in job" in caplog.text


async def test_no_exception_handler_after_success(app: Werk) -> None:
    """Success, and a result that cannot be stored, are told apart: only the second one is an exception."""
    seen: list[Any] = []
    worker = burst(app)
    worker.push_exception_handler(lambda job, error: seen.append((job.function, type(error).__name__)))
    await app.enqueue(handlers.echo)
    await run(app, worker, handlers.bad_result)
    assert [("tests.handlers.bad_result", "SerializationError")] == seen


async def test_shutdown_in_a_hook(app: Werk, tables: Tables) -> None:
    """A worker that is stopped while a hook runs gives the job back, as if it had never been tried."""
    inside = asyncio.Event()

    async def hang(_: Context) -> None:
        inside.set()
        await asyncio.Event().wait()

    await app.enqueue(handlers.echo)
    worker = AsyncWorker(app, before_process=hang, handle_signals=False, shutdown_timeout=0)
    task = asyncio.create_task(worker.run())
    await asyncio.wait_for(inside.wait(), 10)
    worker.stop()
    await ended(worker, task)
    assert [("queued", 0)] == await tables.rows("SELECT status, attempts FROM {jobs}")


@pytest.mark.parametrize("way", ["stop", "abort", "delete"])
@pytest.mark.parametrize("is_coroutine", [True, False])
async def test_interrupted_in_a_hook_that_goes_on(app: Werk, tables: Tables, way: str, is_coroutine: bool) -> None:
    """When the worker stops a run whose hook cannot be stopped, the handler is not started after the hook."""
    inside, outside = threading.Event(), threading.Event()

    async def coroutine(_: Context) -> None:
        inside.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    def plain(_: Context) -> None:
        inside.set()
        outside.wait(20)

    job = await app.enqueue(handlers.hang)
    assert job is not None
    worker = AsyncWorker(
        app,
        before_process=coroutine if is_coroutine else plain,
        handle_signals=False,
        shutdown_timeout=0,
        abort_interval=0.05,
    )
    task = asyncio.create_task(worker.run())
    await tables.until(inside.is_set)
    if way == "stop":
        worker.stop()
    elif way == "abort":
        assert await app.abort_job(job.id)
    else:
        await app.delete_job(job.id)
    await asyncio.sleep(0.3)
    outside.set()
    if way == "abort":
        await tables.until(lambda: tables.counts_are(aborted=1), 10)
    if way == "delete":
        await tables.until(lambda: not len(worker._engine._runs), 10)  # type: ignore[union-attr]
    worker.stop() if way != "stop" else None
    await ended(worker, task)
    expected = {"stop": {"queued": 1}, "abort": {"aborted": 1}, "delete": {}}
    assert expected[way] == await tables.counts()


async def test_shutdown_in_an_after_hook(app: Werk, tables: Tables) -> None:
    """A worker that is stopped while a hook runs after the handler keeps what the handler has come to."""
    inside = asyncio.Event()

    async def hang(_: Context) -> None:
        inside.set()
        await asyncio.Event().wait()

    await app.enqueue(handlers.echo, 1)
    worker = AsyncWorker(app, after_process=hang, handle_signals=False, shutdown_timeout=0)
    task = asyncio.create_task(worker.run())
    await asyncio.wait_for(inside.wait(), 10)
    worker.stop()
    await ended(worker, task)
    assert {"complete": 1} == await tables.counts()


async def test_hooks_that_cannot_be_called(app: Werk) -> None:
    """What cannot be called is refused when it is given."""
    with pytest.raises(TypeError, match="a before_process hook must be a function, not int"):
        AsyncWorker(app, before_process=[1])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="after_process must be a function or a list of functions, not str"):
        AsyncWorker(app, after_process="hook")  # type: ignore[arg-type]
    worker = AsyncWorker(app)
    with pytest.raises(TypeError, match="an exception handler must be a function"):
        worker.push_exception_handler(None)  # type: ignore[arg-type]
    with pytest.raises(IndexError, match="no exception handler is left to pop"):
        worker.pop_exception_handler()
