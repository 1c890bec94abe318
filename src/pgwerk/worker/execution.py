"""Running what a job needs to have run, and telling what came of it.

An executor is what the four kinds of workers differ in: it gets a handler or a callback to run, and tells how that
ended. It never raises for what a handler does, whatever that is. Why a run was stopped, the worker knows better than
the handler, so the last word about an attempt is spoken here, in the same way for all kinds.
"""

from __future__ import annotations

import asyncio
import enum
import functools
import inspect
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol, TypeAlias

from pgwerk._core.claimed import Claimed
from pgwerk._core.execution import Attempted, Attempts, Call, Ending, Work
from pgwerk._core.policy import aborted, given_back
from pgwerk.worker import stacks
from pgwerk.worker.loops import InThread
from pgwerk.worker.threads import LeftRunningError, Threads

logger = logging.getLogger("pgwerk.worker")


class Interruption(enum.Enum):
    """Why the worker itself stops a run. A cancellation without one is the handler's own doing."""

    Timeout = enum.auto()
    Shutdown = enum.auto()
    Abort = enum.auto()
    """Somebody asked for it."""
    Lost = enum.auto()
    """The job does not belong to this worker any more: it was rescued by another one, or deleted."""


class RunKey(NamedTuple):
    """What no other run has, of all that a worker runs.

    By attempt, not by job: one that was rescued may be claimed again while its last attempt still runs here.

    Attributes:
        job_id: The job.
        number: The number of the attempt, or for a callback one that no other has.
        is_callback: Whether it is the callback that runs.
    """

    job_id: str
    number: int
    is_callback: bool = False


class Running:
    """A handler or a callback that is being run.

    Attributes:
        work: What is run.
        key: What tells it from all others.
        started_at: When it started, in seconds of the monotonic clock.
        interruption: Why the worker stops it; None while it does not.
        in_thread: Whether its handler is a plain function in a thread, which cannot be stopped.
        hook: The hook that it is in at this moment; None while it is in none.
        task: The task that runs it.
    """

    __slots__ = ("_grace_secs", "_timer", "hook", "in_thread", "interruption", "key", "started_at", "task", "work")

    def __init__(self, work: Work, key: RunKey, grace_secs: float) -> None:
        self.work = work
        self.key = key
        self.hook: str | None = None
        self.in_thread = False
        self._grace_secs = grace_secs
        self.started_at = time.monotonic()
        self.interruption: Interruption | None = None
        self.task: asyncio.Task[Ran | None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def claimed(self) -> Claimed:
        """Its job."""
        return self.work.claimed

    def arm(self) -> None:
        """Start the clock of its time-out."""
        timeout = self.work.timeout_secs
        if timeout is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(timeout, self.interrupt, Interruption.Timeout)

    def disarm(self) -> None:
        """The handler has ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def interrupt(self, reason: Interruption) -> None:
        """Ask for it to be stopped, and ask again when it does not end. The first reason counts."""
        if self.task is None:
            # It is just about to start, and looks at the reason first.
            self.interruption = self.interruption or reason
            return
        if self.task.done():
            return
        if self.interruption is None:
            self.interruption = reason
            asyncio.get_running_loop().call_later(self._grace_secs, self._insist, True)
        self.task.cancel()

    def _insist(self, first: bool) -> None:
        # A cancellation is swallowed easily, and clients of some services do.
        if self.task is None or self.task.done():
            return
        if first and self.interruption is not None:
            logger.warning(
                "job %s (%s) does not end, %g s after it was told to (%s); it is told again",
                self.key.job_id,
                self.work.function,
                self._grace_secs,
                self.interruption.name.lower(),
            )
        self.task.cancel()
        asyncio.get_running_loop().call_later(self._grace_secs, self._insist, False)


Ran: TypeAlias = Attempted | Ending
"""What came of a handler, or of a callback."""


class Executor(Protocol):
    """Runs handlers and callbacks in one way."""

    async def start(self) -> None:
        """Get ready. Called once, before anything is run."""
        ...

    async def execute(self, running: Running) -> Ran | None:
        """Run a handler or a callback; None when it was left running, so that its end will never be known.

        A cancellation of the task is the order to stop it: `running` says why. The run's clock is armed when the
        handler starts, and disarmed when it has ended.
        """
        ...

    async def stack(self, running: Running) -> str:
        """Where a run is just now, in the form of a traceback; empty if that cannot be known."""
        ...

    def abandon(self) -> None:
        """Stop waiting for what cannot be stopped."""
        ...

    async def close(self) -> None:
        """Nothing more is going to be run."""
        ...


class LoopExecutor:
    """Runs coroutine functions on the event loop, and plain functions in threads.

    Args:
        attempts: Begins and ends the attempts.
    """

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts
        self._threads = Threads("pgwerk-handler")

    async def start(self) -> None:
        """There is nothing to get ready."""

    async def execute(self, running: Running) -> Ran | None:
        """Run a handler or a callback; None when it was left running in its thread."""
        work = running.work
        try:
            call = self._attempts.begin(work)
        except BaseException as error:  # a module may raise anything while it is imported
            return self._attempts.not_begun(work, error)
        running.arm()
        try:
            ending = Ending(await self._call(call, running))
        except LeftRunningError:
            return None
        except BaseException as error:  # SystemExit, KeyboardInterrupt and the like end the job, not the worker
            ending = Ending(error=error)
        finally:
            running.disarm()
        return self._attempts.end(work, call, ending)

    async def stack(self, running: Running) -> str:
        """Where a run is just now."""
        in_thread = self._threads.stack(running.key)
        if in_thread or running.task is None:
            return in_thread
        return stacks.of_coroutine(running.task.get_coro())

    def abandon(self) -> None:
        """Stop waiting for threads that still run."""
        self._threads.abandon()

    async def close(self) -> None:
        """Nothing more is going to be run."""
        self._threads.close()

    async def _call(self, call: Call, running: Running) -> Any:
        if call.is_coroutine:
            return await call.func(*call.args, **call.kwargs)
        result, error = await self._in_thread(call, running)
        if error is not None:
            raise error
        # A plain function may hand back a coroutine, of a decorator's making for instance.
        return await result if inspect.isawaitable(result) else result

    async def _in_thread(self, call: Call, running: Running) -> tuple[Any, BaseException | None]:
        running.in_thread = True
        try:
            return await self._threads.run(functools.partial(call.func, *call.args, **call.kwargs), key=running.key)
        finally:
            running.in_thread = False


class ThreadExecutor(LoopExecutor):
    """Runs every handler in a thread; a coroutine function on an event loop that belongs to its thread.

    A coroutine can be stopped from outside, wherever it runs; a plain function cannot.
    """

    def __init__(self, attempts: Attempts) -> None:
        super().__init__(attempts)
        self._coroutines: dict[RunKey, InThread] = {}

    async def stack(self, running: Running) -> str:
        """Where a run is just now."""
        coroutine = self._coroutines.get(running.key)
        return self._threads.stack(running.key) if coroutine is None else coroutine.stack()

    async def _call(self, call: Call, running: Running) -> Any:
        if call.is_coroutine:
            func = functools.partial(call.func, *call.args, **call.kwargs)
            return await self._await_in_thread(func, running)
        result, error = await self._in_thread(call, running)
        if error is not None:
            raise error
        if inspect.isawaitable(result):
            return await self._await_in_thread(functools.partial(_itself, result), running)
        return result

    async def _await_in_thread(self, func: Callable[[], Awaitable[Any]], running: Running) -> Any:
        coroutine = self._coroutines[running.key] = InThread(func)
        try:
            result, error = await self._threads.run(coroutine.run, key=running.key, on_cancel=coroutine.cancel)
        finally:
            del self._coroutines[running.key]
        if error is not None:
            raise error
        return result


def _itself(awaitable: Awaitable[Any]) -> Awaitable[Any]:
    return awaitable


def judge(attempts: Attempts, running: Running, ran: Attempted) -> Attempted:
    """What an attempt comes to, given why the worker has stopped it, if it has."""
    claimed = running.claimed
    match running.interruption:
        case Interruption.Timeout:
            return attempts.timed_out(claimed, ran.error)._replace(max_memory=ran.max_memory)
        case Interruption.Abort:
            return ran._replace(outcome=aborted())
        case Interruption.Shutdown if ran.error is not None:
            return ran._replace(outcome=given_back())
    # It has returned although it was told to stop, or nobody has told it.
    return ran
