"""Handlers for tests about several workers: they write down what they do, and wait where a test wants them to.

What they write goes to tables beside pgwerk's own, over a connection of its own, which whoever runs the worker opens
with `ledger()`: the test itself, or entry.py in a process of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import psycopg

from pgwerk import Context, Job

_gates: dict[str, asyncio.Event] = {}
_ledger: Ledger | None = None


class Ledger:
    """What handlers have done, in a schema of the database.

    Args:
        connection: Statements of several handlers wait for each other on it.
        schema: Where the tables are, next to pgwerk's.
    """

    def __init__(self, connection: psycopg.AsyncConnection[Any], schema: str) -> None:
        self._connection = connection
        self._schema = schema

    async def create(self) -> None:
        """Create the tables."""
        await self._execute("CREATE TABLE {}.effects (job_id uuid, attempt integer, pid integer)")
        await self._execute("CREATE TABLE {}.inside (group_key text PRIMARY KEY)")

    async def note(self, ctx: Context) -> None:
        """An attempt has done its work."""
        await self._execute("INSERT INTO {}.effects VALUES (%s, %s, %s)", ctx.job.id, ctx.job.attempts, os.getpid())

    async def enter(self, group: str | None) -> None:
        """Fails when another job of the group is inside."""
        await self._execute("INSERT INTO {}.inside VALUES (%s)", group)

    async def leave(self, group: str | None) -> None:
        """Let the next job of the group in."""
        await self._execute("DELETE FROM {}.inside WHERE group_key = %s", group)

    async def _execute(self, query: str, *params: object) -> None:
        await self._connection.execute(query.format(self._schema).encode(), params)


@contextlib.asynccontextmanager
async def ledger(dsn: str, schema: str) -> AsyncIterator[Ledger]:
    """Let the handlers of this process write to the ledger of a schema."""
    global _ledger  # noqa: PLW0603 - handlers are called with what was enqueued, and find it here
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        _ledger = Ledger(connection, schema)
        try:
            yield _ledger
        finally:
            _ledger = None


def gate(name: str = "", attempt: int = 1) -> asyncio.Event:
    """What the attempt of this number at the `gated` job of this name waits for."""
    return _gates.setdefault(f"{name} {attempt}", asyncio.Event())


def forget_gates() -> None:
    """Close all gates: an event belongs to the loop that waited for it."""
    _gates.clear()


async def gated(ctx: Context, name: str = "") -> int:
    """Wait for the gate, and tell which attempt this was."""
    await gate(name, ctx.job.attempts).wait()
    return ctx.job.attempts


async def nap(ctx: Context, secs: float) -> None:
    """Take some time, and write it down."""
    await asyncio.sleep(secs)
    await _written().note(ctx)


async def nap_quietly(number: int, secs: float) -> int:
    """Take some time."""
    await asyncio.sleep(secs)
    return number


async def alone(ctx: Context, secs: float) -> None:
    """Take some time, and fail if another job of the group does so, too."""
    await _written().enter(ctx.job.group_key)
    await asyncio.sleep(secs)
    await _written().note(ctx)
    await _written().leave(ctx.job.group_key)


async def outlast(ctx: Context, attempts: int) -> None:
    """Never end, so many times; then do."""
    if ctx.job.attempts <= attempts:
        await asyncio.Event().wait()
    await _written().note(ctx)


async def kill_worker() -> None:
    """Take the worker along."""
    os.kill(os.getpid(), signal.SIGKILL)
    await asyncio.Event().wait()


def _written() -> Ledger:
    assert _ledger is not None, "whoever runs the worker opens the ledger"
    return _ledger


# Callbacks: what was called with what, in this process.

calls: list[tuple[str, Any]] = []


async def note_job(job: Job) -> None:
    """A callback that gets the job."""
    calls.append(("note_job", job))


def note_context(ctx: Context) -> None:
    """A callback that gets the context, in a thread."""
    calls.append(("note_context", ctx))


async def fail_twice(job: Job) -> None:
    """A callback that works the third time."""
    calls.append(("fail_twice", job))
    if len(calls) < 3:
        raise ValueError("not yet")


async def hang_in_callback(job: Job) -> None:
    """A callback that does not end."""
    calls.append(("hang", job))
    await asyncio.Event().wait()


async def kill_worker_once(ctx: Context) -> None:
    """A callback that takes the first worker along which calls it."""
    async with await psycopg.AsyncConnection.connect(ctx.app.dsn, autocommit=True) as connection:
        table = f'{ctx.app.config.schema}."_pgwerk_jobs"'
        cursor = await connection.execute(f"SELECT callback_tries FROM {table} WHERE id = %s".encode(), [ctx.job.id])
        row = await cursor.fetchone()
    if row == (1,):
        os.kill(os.getpid(), signal.SIGKILL)


door = threading.Event()


def plain_gated() -> str:
    """Wait in a thread until the door is open."""
    door.wait()
    return "opened"


def where() -> list[str]:
    """In which kind of thread a plain function runs."""
    return [threading.current_thread().name.rsplit("-", 1)[0]]


async def where_async(ctx: Context) -> list[Any]:
    """In which kind of thread a coroutine runs, and what it can do there."""
    await asyncio.sleep(0)
    child = await ctx.app.enqueue("tests.handlers.echo", _queue="elsewhere")
    return [threading.current_thread().name.rsplit("-", 1)[0], type(ctx.app).__name__, child is not None]


async def close_loop() -> str:
    """Close the event loop behind the back of whoever runs it."""
    loop = asyncio.get_running_loop()
    loop.call_soon(loop.stop)
    return "closed"


async def leave_task_behind() -> None:
    """Return while a task of its own still runs."""
    _left.append(asyncio.create_task(asyncio.sleep(1000)))


_left: list[asyncio.Task[None]] = []


async def block(secs: float) -> str:
    """Block the event loop, as a coroutine function must not."""
    time.sleep(secs)  # noqa: ASYNC251 - the point of it
    return "blocked"


def log_something(ctx: Context) -> None:
    """Log with and without a `job_id` of one's own."""
    logging.getLogger("some.application").warning("from the handler of %s", ctx.job.id)
    logging.getLogger("some.application").warning("with its own", extra={"job_id": "mine"})


class Unspeakable(Exception):
    """An exception that cannot even be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


SURPRISES: dict[str, Any] = {
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "CancelledError": lambda: asyncio.CancelledError("of its own accord"),
    "Unspeakable": Unspeakable,
    "StopIteration": StopIteration,
}


async def surprise(name: str) -> None:
    """Raise what nobody expects."""
    if name == "RecursionError":
        _recurse()
    raise SURPRISES[name]()


def plain_surprise(name: str) -> None:
    """Raise what nobody expects, as a plain function."""
    if name == "RecursionError":
        _recurse()
    raise SURPRISES[name]()


def _recurse() -> None:
    _recurse()


def change_directory() -> None:
    """Change the working directory of the whole process."""
    os.chdir("/")


async def leave_the_first_time(job: Job) -> None:
    """A callback that ends its process when it is called for the first time."""
    calls.append(("leave", job))
    if len(calls) == 1:
        raise SystemExit(3)


async def gated_callback(job: Job) -> None:
    """A callback that waits for the gate."""
    calls.append(("gated", job))
    await gate("callback").wait()


async def is_task_cancelled() -> bool:
    """Whether what another job has left behind was cancelled."""
    return _left.pop().cancelled()


async def swallow_once() -> None:
    """Go on after a cancellation, until there is another one."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await asyncio.Event().wait()


async def stop_worker(ctx: Context, secs: float, now: bool = False) -> None:
    """Stop the worker, and go on for a while."""
    ctx.worker.stop(now=now)
    await asyncio.sleep(secs)


inside = threading.Event()


async def deaf() -> str:
    """Go on after each cancellation, until the door is open."""
    inside.set()
    while not door.is_set():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            continue
    return "heard"


async def deaf_callback(_: Job) -> None:
    """A callback that goes on after each cancellation, until the door is open."""
    await deaf()
