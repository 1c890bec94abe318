"""A scheduler that runs beside a worker, so that a small deployment is one process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable
from typing import TypeAlias

import psycopg

from pgwerk._async.scheduler import CronScheduler
from pgwerk._core.backoff import Backoff
from pgwerk._sync.scheduler import SyncCronScheduler

logger = logging.getLogger("pgwerk.worker")

AnyScheduler: TypeAlias = CronScheduler | SyncCronScheduler

PATIENCE_SECS = 3.0
"""How long to wait, in the end, for a tick that is under way."""


def check_scheduler(given: object) -> AnyScheduler | None:
    """A scheduler of either flavour, or none.

    Raises:
        TypeError: It is something else.
    """
    if given is not None and not isinstance(given, (CronScheduler, SyncCronScheduler)):
        raise TypeError(f"scheduler must be a CronScheduler or a SyncCronScheduler, not {type(given).__name__}")
    return given


class Companion:
    """Runs a scheduler for as long as its worker claims jobs.

    Args:
        scheduler: The scheduler; one for blocking code runs in a thread. None runs nothing.
        on_failed: Called when the scheduler has failed for good, which is a fault of ours.
    """

    def __init__(self, scheduler: AnyScheduler | None, on_failed: Callable[[], None]) -> None:
        self._scheduler = scheduler
        self._on_failed = on_failed
        self._is_stopping = False

    @contextlib.asynccontextmanager
    async def beside(self, *, burst: bool) -> AsyncIterator[None]:
        """Run it meanwhile. For a burst, what is due is enqueued before."""
        scheduler = self._scheduler
        if scheduler is None or self._is_stopping:
            yield
            return
        if burst:
            await _call(scheduler, scheduler.tick)
        task = asyncio.create_task(self._run(scheduler))
        task.add_done_callback(self._on_done)
        try:
            yield
        finally:
            self.stop()
            await asyncio.wait([task], timeout=PATIENCE_SECS)
            task.cancel()
            await asyncio.wait([task])

    def stop(self) -> None:
        """Enqueue nothing more."""
        self._is_stopping = True
        if self._scheduler is not None:
            self._scheduler.stop()

    async def _run(self, scheduler: AnyScheduler) -> None:
        backoff = Backoff()
        while not self._is_stopping:
            try:
                await _call(scheduler, scheduler.run)
            except psycopg.Error as error:
                # Later on it waits for the database by itself, but not at its start.
                pause = backoff.next()
                logger.warning("the scheduler cannot start (next try in %.1f s): %s", pause, error)
                await asyncio.sleep(pause)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.critical("the worker stops because of an error in its scheduler", exc_info=error)
            self._on_failed()


async def _call(scheduler: AnyScheduler, method: Callable[[], object]) -> None:
    result = await _in_thread(method) if isinstance(scheduler, SyncCronScheduler) else method()
    if asyncio.iscoroutine(result):
        await result


async def _in_thread(func: Callable[[], object]) -> object:
    """Call a function in a thread that keeps nobody from leaving."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[object] = loop.create_future()

    def deliver(result: object, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def work() -> None:
        result, raised = None, None
        try:
            result = func()
        except BaseException as error:  # carried over to whoever waits
            raised = error
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits
            loop.call_soon_threadsafe(deliver, result, raised)

    threading.Thread(target=work, name="pgwerk-scheduler", daemon=True).start()
    return await future
