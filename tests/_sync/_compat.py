"""What differs between the flavours in tests, with a hand-written twin in `tests/_async`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from threading import Thread
from typing import Any, NoReturn, TypeVar

import psycopg
import psycopg_pool

from pgwerk import AsyncWorker, SyncWerk

PAUSE = 0.01

T = TypeVar("T")

CURSORS: dict[str, type[psycopg.Cursor[Any]]] = {
    "cursor": psycopg.Cursor,
    "client cursor": psycopg.ClientCursor,
    "raw cursor": psycopg.RawCursor,
}
"""The kinds of cursors that a connection of this flavour can have."""


class Spawned:
    """Something that runs beside the test."""

    def __init__(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._future: Future[Any] = Future()

        def run() -> None:
            try:
                self._future.set_result(func(*args, **kwargs))
            except BaseException as error:
                self._future.set_exception(error)

        Thread(target=run, daemon=True).start()

    def running(self) -> bool:
        return not self._future.done()

    def result(self) -> Any:
        return self._future.result(30)


def spawn(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Spawned:
    return Spawned(func, *args, **kwargs)


def pause(seconds: float = PAUSE) -> None:
    time.sleep(seconds)


@contextlib.contextmanager
def working(app: SyncWerk, **options: Any) -> Iterator[AsyncWorker]:
    """A worker that runs beside the test."""
    worker = AsyncWorker(app, handle_signals=False, **options)
    run = spawn(lambda: asyncio.run(worker.run()))
    try:
        yield worker
    finally:
        worker.stop()
        run.result()


def burst(app: SyncWerk, **options: Any) -> None:
    """Run what is there to run."""
    asyncio.run(AsyncWorker(app, handle_signals=False, burst=True, **options).run())


@contextlib.contextmanager
def other_flavour(dsn: str) -> Iterator[list[Any]]:
    """A connection, a cursor and a pool of the other flavour."""
    with asyncio.Runner() as runner:
        connection = runner.run(psycopg.AsyncConnection.connect(dsn))
        yield [connection, connection.cursor(), psycopg_pool.AsyncConnectionPool(dsn, open=False)]
        runner.run(connection.close())


def fitting(coroutine_function: T, plain_function: T) -> T:  # noqa: ARG001 - the twin needs it
    """The handler that is of this flavour."""
    return plain_function


def exit_code(child: int) -> int:
    """The exit code of a child process, when it has ended."""
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def in_forked_child(func: Callable[..., Any], *args: Any, **kwargs: Any) -> NoReturn:
    """Run something in a child that was just forked, and end it without running what the parent would."""
    status = 1
    try:
        func(*args, **kwargs)
        status = 0
    finally:
        os._exit(status)
