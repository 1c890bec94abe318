"""What differs between the flavours in tests, with a hand-written twin in `tests/_async`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from threading import Thread
from typing import Any, NoReturn

from pgwerk import AsyncWorker, SyncWerk

PAUSE = 0.01


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
