"""What differs between the flavours in tests, with a hand-written twin in `tests/_sync`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, NoReturn, TypeVar

import psycopg
import psycopg_pool

from pgwerk import AsyncWorker, Werk

PAUSE = 0.01

T = TypeVar("T")

CURSORS: dict[str, type[psycopg.AsyncCursor[Any]]] = {
    "cursor": psycopg.AsyncCursor,
    "client cursor": psycopg.AsyncClientCursor,
    "raw cursor": psycopg.AsyncRawCursor,
}
"""The kinds of cursors that a connection of this flavour can have."""


class Spawned:
    """Something that runs beside the test."""

    def __init__(self, func: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> None:
        async def run() -> Any:
            return await func(*args, **kwargs)

        self._task = asyncio.ensure_future(run())

    def running(self) -> bool:
        return not self._task.done()

    async def result(self) -> Any:
        return await asyncio.wait_for(self._task, 30)


def spawn(func: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Spawned:
    return Spawned(func, *args, **kwargs)


async def pause(seconds: float = PAUSE) -> None:
    await asyncio.sleep(seconds)


@contextlib.asynccontextmanager
async def working(app: Werk, **options: Any) -> AsyncIterator[AsyncWorker]:
    """A worker that runs beside the test."""
    worker = AsyncWorker(app, handle_signals=False, **options)
    task = asyncio.ensure_future(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        await asyncio.wait_for(task, 30)


async def burst(app: Werk, **options: Any) -> None:
    """Run what is there to run."""
    await AsyncWorker(app, handle_signals=False, burst=True, **options).run()


@contextlib.contextmanager
def other_flavour(dsn: str) -> Iterator[list[Any]]:
    """A connection, a cursor and a pool of the other flavour."""
    with psycopg.connect(dsn) as connection, psycopg_pool.ConnectionPool(dsn, open=False) as pool:
        yield [connection, connection.cursor(), pool]


def fitting(coroutine_function: T, plain_function: T) -> T:  # noqa: ARG001 - the twin needs it
    """The handler that is of this flavour."""
    return coroutine_function


def exit_code(child: int) -> int:
    """The exit code of a child process, when it has ended."""
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def in_forked_child(func: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> NoReturn:
    """Run something in a child that was just forked, and end it without running what the parent would."""
    status = 1
    try:
        # The child has inherited the parent's loop in the middle of its work, so this one needs a thread of its own.
        outcome: list[Any] = []
        thread = threading.Thread(target=lambda: outcome.append(asyncio.run(_awaited(func, *args, **kwargs))))
        thread.start()
        thread.join()
        status = 0 if outcome else 1
    finally:
        os._exit(status)


async def _awaited(func: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
    return await func(*args, **kwargs)
