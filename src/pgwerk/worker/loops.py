"""Event loops of our own: the worker's, when it is run by blocking code, and those of threads that run coroutines."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from pgwerk.worker import stacks

# psycopg needs add_reader(), which Windows' default loop does not have.
LOOP_FACTORY: Callable[[], asyncio.AbstractEventLoop] | None = (
    asyncio.SelectorEventLoop if sys.platform == "win32" else None
)

_runners = threading.local()


def new_runner() -> asyncio.Runner:
    """What runs coroutines one after the other on an event loop that psycopg can use."""
    return asyncio.Runner(loop_factory=LOOP_FACTORY)


class InThread:
    """An awaitable that is run to its end by a thread, and may be cancelled from others.

    Each thread keeps its event loop from one run to the next: what a client holds open belongs to the loop.

    Args:
        func: Gives the awaitable.
    """

    def __init__(self, func: Callable[[], Awaitable[Any]]) -> None:
        self._func = func
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._is_cancelled = False

    def run(self) -> Any:
        """Run it in this thread.

        Raises:
            BaseException: Whatever it raises.
        """
        runner = _runner()
        try:
            # Raised out of the loop, a SystemExit would leave it unusable: it is carried past it.
            result, error = runner.run(self._main())
        finally:
            with self._lock:
                self._loop = None
        if error is not None:
            raise error
        return result

    def cancel(self) -> None:
        """Cancel it, from any thread."""
        with self._lock:
            self._is_cancelled = True
            if self._loop is not None and self._task is not None:
                with contextlib.suppress(RuntimeError):  # the handler has closed the loop
                    self._loop.call_soon_threadsafe(self._task.cancel)

    def stack(self) -> str:
        """Where it waits, in the form of a traceback."""
        task = self._task
        return "" if task is None else stacks.of_coroutine(task.get_coro())

    async def _main(self) -> tuple[Any, BaseException | None]:
        with self._lock:
            self._loop = asyncio.get_running_loop()
            self._task = asyncio.ensure_future(self._caught())
            if self._is_cancelled:
                self._task.cancel()
        await asyncio.wait([self._task])
        with self._lock:
            self._loop = None
        await _cancel_the_rest()
        return (None, asyncio.CancelledError()) if self._task.cancelled() else self._task.result()

    async def _caught(self) -> tuple[Any, BaseException | None]:
        try:
            return await self._func(), None
        except BaseException as error:  # the handler's own affair
            return None, error


def close_loop_of_thread() -> None:
    """Close the event loop that this thread has kept, if it has."""
    runner: asyncio.Runner | None = getattr(_runners, "runner", None)
    if runner is not None:
        del _runners.runner
        with contextlib.suppress(RuntimeError):
            runner.close()


def _runner() -> asyncio.Runner:
    runner: asyncio.Runner | None = getattr(_runners, "runner", None)
    if runner is not None and runner.get_loop().is_closed():
        close_loop_of_thread()
        runner = None
    if runner is None:
        runner = _runners.runner = new_runner()
    return runner


async def _cancel_the_rest() -> None:
    """Cancel tasks that a handler has left behind, as `asyncio.run` does."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
