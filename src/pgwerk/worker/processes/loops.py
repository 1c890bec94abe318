"""The event loop of a child, for handlers that are coroutine functions.

It is kept from one run to the next, as handlers know it from a worker that runs them on a loop: what they have made for
a loop, a client of a service for instance, goes on working. What they have started on it and not waited for ends with
the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from pgwerk.worker.processes.stopping import Stopper


class Loop:
    """Runs coroutines, one at a time.

    Args:
        stopper: What stops them.
    """

    def __init__(self, stopper: Stopper) -> None:
        self._stopper = stopper
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None

    def coroutine(self) -> Any:
        """What it runs at this moment; None if that is nothing."""
        return None if self._task is None else self._task.get_coro()

    def open(self) -> asyncio.AbstractEventLoop:
        """The loop; a new one, if a handler has closed the last one."""
        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
        return self._loop

    def run(self, awaitable: Awaitable[Any]) -> Any:
        """What it returns."""
        loop = self.open()
        task = self._task = loop.create_task(_awaited(awaitable))

        def cancel() -> bool:
            if task.done() or loop.is_closed():
                return False
            loop.call_soon_threadsafe(task.cancel)
            return True

        self._stopper.cancel = cancel
        try:
            result, error = loop.run_until_complete(task)
        finally:
            self._stopper.cancel = self._task = None
            self._clear(loop)
        if error is not None:
            raise error
        return result

    def _clear(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancel what is left over, and wait until it has ended."""
        if loop.is_closed():
            return
        left_over = asyncio.all_tasks(loop)
        if not left_over:
            return
        for task in left_over:
            task.cancel()
        loop.run_until_complete(asyncio.wait(left_over))
        for task in left_over:
            if not task.cancelled() and (error := task.exception()) is not None:
                loop.call_exception_handler(
                    {"message": "a task that was left over has failed", "exception": error, "task": task}
                )


async def _awaited(awaitable: Awaitable[Any]) -> tuple[Any, BaseException | None]:
    """What it returns, or what it raises. A SystemExit for instance would get the loop itself out of step."""
    try:
        return await awaitable, None
    except BaseException as error:  # it belongs to the job
        return None, error
