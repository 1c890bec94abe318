"""What runs in a worker at this moment: handlers and callbacks, each in a task of its own.

They start a moment after they were claimed: by then the next claim is on its way, and the server works on it while the
handlers run. Where Python can (3.12 and newer), a task begins to run when it is made, and one that never has to wait
for anything costs the event loop nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import logging
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from pgwerk._core.claimed import Claimed
from pgwerk._core.execution import Attempted, Attempts, Ending, Work
from pgwerk._core.logs import current_job
from pgwerk._core.models import ExecutionStatus
from pgwerk._core.policy import given_back
from pgwerk.worker.execution import Executor, Interruption, Ran, RunKey, Running, judge
from pgwerk.worker.hooks import Hooks

logger = logging.getLogger("pgwerk.worker")


AT_ONCE = 50
"""How many runs start in one round of the event loop: what was begun is ended while the caches still hold it."""


class Runs:
    """The runs of one worker.

    Args:
        attempts: Begins and ends attempts.
        executor: Runs handlers and callbacks.
        hooks: What is called around handlers.
        grace_secs: Seconds after which a run that was told to stop is told again.
        on_ended: Called with a run that has ended, and what came of it; None when it was left running, so that nobody
            will know.
    """

    def __init__(
        self,
        attempts: Attempts,
        executor: Executor,
        hooks: Hooks,
        *,
        grace_secs: float,
        on_ended: Callable[[Running, Ran | None], None],
    ) -> None:
        self._attempts = attempts
        self._executor = executor
        self._hooks = hooks
        self._grace_secs = grace_secs
        self._on_ended = on_ended
        self._running: dict[RunKey, Running] = {}
        self._unstarted: list[Running] = []

    def __len__(self) -> int:
        return len(self._running)

    def __iter__(self) -> Iterator[Running]:
        # Of a copy: the watchdog looks from its thread.
        return iter(list(self._running.values()))

    def find(self, key: RunKey) -> Running | None:
        """The run with this key, if it has not ended."""
        return self._running.get(key)

    def jobs(self) -> list[Claimed]:
        """The jobs whose handlers run."""
        return [running.claimed for running in self if not running.key.is_callback]

    def attempts(self) -> list[tuple[str, int]]:
        """The attempts that are being made: job and number."""
        return [(key.job_id, key.number) for key in self._running if not key.is_callback]

    def start(self, work: Work, key: RunKey) -> None:
        """Start a handler or a callback, as soon as the event loop gets to it."""
        running = Running(work, key, self._grace_secs)
        self._running[key] = running
        if not self._unstarted:
            asyncio.get_running_loop().call_soon(self._start_all)
        self._unstarted.append(running)

    def _start_all(self) -> None:
        at_once, self._unstarted = self._unstarted[:AT_ONCE], self._unstarted[AT_ONCE:]
        if self._unstarted:
            asyncio.get_running_loop().call_soon(self._start_all)
        for running in at_once:
            # What is logged about the end carries the id of the job as well.
            context = contextvars.copy_context()
            task = running.task = _begin(self._run(running), context)
            if task.done():
                context.run(self._end, running, task)
            else:
                # In a callback, because a task that is cancelled before its first step never gets as far as its own
                # code.
                task.add_done_callback(functools.partial(self._end, running), context=context)

    def interrupt(self, reason: Interruption) -> None:
        """Stop all of them."""
        for running in self:
            running.interrupt(reason)

    async def _run(self, running: Running) -> Ran | None:
        running.task = asyncio.current_task()
        current_job.set(running.key.job_id)
        if running.key.is_callback:
            if running.interruption is not None:
                return Ending(error=asyncio.CancelledError())
            ending = await self._executor.execute(running)
            await _settle_down()
            return ending
        hooks = self._hooks
        try:
            if running.interruption is not None:
                raise asyncio.CancelledError
            if hooks.before:
                await hooks.run_before(running)
            ran = await self._executor.execute(running)
        except asyncio.CancelledError as error:
            # The worker has stopped it before it began.
            ran = self._attempts.unprepared(running.claimed, error)
        if not isinstance(ran, Attempted):
            return None
        await _settle_down()
        attempted = judge(self._attempts, running, ran)
        if hooks.after or hooks.on_exception:
            await self._run_after(running, attempted)
        return attempted

    async def _run_after(self, running: Running, attempted: Attempted) -> None:
        error = attempted.error
        try:
            if error is not None and attempted.outcome.execution is ExecutionStatus.Failed:
                await self._hooks.handle(running, error)
            await self._hooks.run_after(running, error)
        except asyncio.CancelledError:
            logger.warning("job %s has ended, and its hooks were stopped", running.key.job_id)

    def _end(self, running: Running, task: asyncio.Task[Ran | None]) -> None:
        del self._running[running.key]
        self._on_ended(running, self._result_of(running, task))

    def _result_of(self, running: Running, task: asyncio.Task[Ran | None]) -> Ran | None:
        if task.cancelled():
            # Before its first step: nothing of it has run.
            running.interruption = Interruption.Shutdown
            fault: BaseException = asyncio.CancelledError()
            attempted = Attempted(given_back(), fault)
        elif (error := task.exception()) is not None:
            fault = error
            logger.critical("a fault of the worker itself in job %s", running.key.job_id, exc_info=fault)
            attempted = self._attempts.unprepared(running.claimed, fault)
        else:
            return task.result()
        return Ending(error=fault) if running.key.is_callback else attempted


async def _settle_down() -> None:
    """Take in the cancellation of a handler that has cancelled its own task, and has not waited for anything since.

    Else it would come when the run returns, and what the handler came to would be lost.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)


def _begin(coroutine: Coroutine[Any, Any, Ran | None], context: contextvars.Context) -> asyncio.Task[Ran | None]:
    """A task that runs a coroutine; it may have ended already."""
    if sys.version_info >= (3, 12):
        loop = asyncio.get_running_loop()
        if loop.get_task_factory() is None:
            return asyncio.Task(coroutine, loop=loop, context=context, eager_start=True)
    return asyncio.create_task(coroutine, context=context)
