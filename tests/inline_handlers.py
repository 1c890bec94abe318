"""Handlers and callbacks for `_sync`: they run in the process of the test, which looks at what they leave behind."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from pgwerk import Context, Job
from pgwerk._core.logs import current_job

OF_COROUTINES = "Werk"
OF_PLAIN_FUNCTIONS = "SyncWerk"
"""The clients that handlers get."""

entered = threading.Event()
"""That `swallow` has begun."""

calls: list[Any] = []
"""What was called, in this process."""

connection: Any = None
"""The caller's connection."""

release = threading.Event()
"""What handlers wait for that last until the test says so."""

variable: ContextVar[str] = ContextVar("variable", default="default")


async def flaky(ctx: Context, successful: int) -> int:
    """Succeed in the attempt of this number."""
    if ctx.job.attempts < successful:
        raise ValueError(f"attempt {ctx.job.attempts}")
    return ctx.job.attempts


def plain_flaky(ctx: Context, successful: int) -> int:
    if ctx.job.attempts < successful:
        raise ValueError(f"attempt {ctx.job.attempts}")
    return ctx.job.attempts


async def flaky_or_hang(ctx: Context) -> None:
    """Never end the first time."""
    if ctx.job.attempts == 1:
        await asyncio.Event().wait()


async def surroundings(ctx: Context) -> list[Any]:
    """Where this runs, and what it is told."""
    calls.append(ctx.app)
    return [variable.get(), current_job.get() == ctx.job.id, type(ctx.app).__name__, ctx.worker, _place()]


def plain_surroundings(ctx: Context) -> list[Any]:
    calls.append(ctx.app)
    return [variable.get(), current_job.get() == ctx.job.id, type(ctx.app).__name__, ctx.worker, _place()]


async def thread() -> int:
    return threading.get_ident()


def plain_thread() -> int:
    return threading.get_ident()


def _place() -> str:
    return "main thread" if threading.current_thread() is threading.main_thread() else "another thread"


async def enqueue_more(ctx: Context, word: str) -> str:
    """Enqueue a job that depends on this one."""
    child = await ctx.app.enqueue("tests.handlers.echo", word, _depends_on=ctx.job)
    return str(child.id)


def plain_enqueue_more(ctx: Context, word: str) -> str:
    return str(ctx.app.enqueue("tests.handlers.echo", word, _depends_on=ctx.job).id)


async def wait_for_release() -> str:
    """Last until the test says so."""
    calls.append("waiting")
    await asyncio.to_thread(release.wait, 30)
    return "released"


def plain_wait_for_release() -> str:
    calls.append("waiting")
    release.wait(30)
    return "released"


async def wait_for_release_and_fail() -> None:
    await wait_for_release()
    raise ValueError("released")


async def swallow() -> str:
    """Go on although it was cancelled."""
    entered.set()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        calls.append("cancelled")
    return "swallowed"


def plain_sleep_and_fail(seconds: float) -> None:
    time.sleep(seconds)
    raise ValueError("late")


def _decorated(func: Callable[[str], Awaitable[str]]) -> Callable[[str], Awaitable[str]]:
    @functools.wraps(func)
    def wrapper(word: str) -> Awaitable[str]:
        return func(word)

    return wrapper


@_decorated
async def decorated(word: str) -> str:
    """A coroutine function of which the decorator has made a plain one."""
    await asyncio.sleep(0)
    return word


@_decorated
async def decorated_hang(word: str) -> str:
    await asyncio.Event().wait()
    return word


async def write(ctx: Context, statement: str, successful: int = 1) -> None:
    """Use the caller's connection, in vain up to the attempt of this number."""
    await connection.execute(statement)
    if ctx.job.attempts < successful:
        raise ValueError("after the write")


def plain_write(ctx: Context, statement: str, successful: int = 1) -> None:
    connection.execute(statement)
    if ctx.job.attempts < successful:
        raise ValueError("after the write")


async def write_and_return(statement: str) -> object:
    """Use the caller's connection, and return what cannot be stored."""
    await connection.execute(statement)
    return object()


def plain_write_and_return(statement: str) -> object:
    connection.execute(statement)
    return object()


async def swallow_error() -> None:
    """Let an error of the caller's connection pass."""
    try:
        await connection.execute("SELECT 1 / 0")
    except Exception:
        calls.append("swallowed")


def plain_swallow_error() -> None:
    try:
        connection.execute("SELECT 1 / 0")
    except Exception:
        calls.append("swallowed")


# Callbacks


async def told(job: Job) -> None:
    """Get the job."""
    calls.append(("told", job.status.value, job.id))


def plain_told(job: Job) -> None:
    calls.append(("told", job.status.value, job.id))


async def told_with_context(ctx: Context) -> None:
    """Get the context."""
    calls.append(("told", ctx.job.status.value, ctx.job.id, type(ctx.app).__name__, ctx.worker, current_job.get()))


def plain_told_with_context(ctx: Context) -> None:
    calls.append(("told", ctx.job.status.value, ctx.job.id, type(ctx.app).__name__, ctx.worker, current_job.get()))


def broken(job: Job) -> None:
    """Fail."""
    calls.append("broken")
    raise RuntimeError(f"about {job.id}")


async def endless(job: Job) -> None:
    """Never end."""
    calls.append(job.id)
    await asyncio.Event().wait()


async def write_in_callback(job: Job) -> None:
    """Use the caller's connection, and fail if the job has."""
    await connection.execute("INSERT INTO written VALUES ('callback')")
    if job.status.value == "failed":
        raise ValueError("after the write")


def plain_write_in_callback(job: Job) -> None:
    connection.execute("INSERT INTO written VALUES ('callback')")
    if job.status.value == "failed":
        raise ValueError("after the write")
