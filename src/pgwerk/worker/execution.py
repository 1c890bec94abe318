"""Running a handler, and telling what came of it.

An executor is what the four kinds of workers differ in: it gets a running job and gives back the outcome to settle. It
never raises for what a handler does, whatever that is.
"""

from __future__ import annotations

import asyncio
import enum
import functools
import inspect
import time
from typing import Any, Protocol

from pgwerk._core.claimed import Claimed
from pgwerk._core.execution import Attempts, Call
from pgwerk._core.logs import current_job
from pgwerk._core.policy import Outcome, given_back
from pgwerk.worker.threads import LeftRunningError, Threads


class Interruption(enum.Enum):
    """Why the worker itself stops a handler. A cancellation without one is the handler's own doing."""

    Timeout = enum.auto()
    Shutdown = enum.auto()


class Running:
    """A job that is being executed.

    Attributes:
        claimed: The job.
        started: When it started, by the monotonic clock.
        interruption: Why the worker stops it; None while it does not.
        task: The task that runs it.
        outcome: What came of it, when it has ended.
    """

    __slots__ = ("_timer", "claimed", "interruption", "outcome", "started", "task")

    def __init__(self, claimed: Claimed) -> None:
        self.claimed = claimed
        self.started = time.monotonic()
        self.interruption: Interruption | None = None
        self.task: asyncio.Task[None] | None = None
        self.outcome: Outcome | None = None
        self._timer: asyncio.TimerHandle | None = None

    def arm(self) -> None:
        """Start the clock of its time-out."""
        if self.claimed.timeout_secs is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self.claimed.timeout_secs, self.interrupt, Interruption.Timeout)

    def disarm(self) -> None:
        """The handler has ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def interrupt(self, reason: Interruption) -> None:
        """Ask the handler to stop. The first reason counts."""
        if self.interruption is None and self.task is not None and not self.task.done():
            self.interruption = reason
            self.task.cancel()


class Executor(Protocol):
    """Runs handlers in one way."""

    async def execute(self, running: Running) -> Outcome | None:
        """Run the handler of a job; None when it was left running, so that its outcome will never be known."""
        ...

    def abandon(self) -> None:
        """Stop waiting for what cannot be stopped."""
        ...

    def close(self) -> None:
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

    async def execute(self, running: Running) -> Outcome | None:
        """Run the handler of a job; None when it was left running in its thread."""
        claimed = running.claimed
        current_job.set(claimed.id)
        try:
            call = self._attempts.prepare(claimed)
        except BaseException as error:  # a module may raise anything while it is imported
            return self._attempts.unprepared(claimed, error)
        running.arm()
        try:
            result = await self._call(call)
        except LeftRunningError:
            return None
        except BaseException as error:  # SystemExit, KeyboardInterrupt and the like end the job, not the worker
            return self._raised(running, call, error)
        finally:
            running.disarm()
        if running.interruption is Interruption.Timeout:
            return self._attempts.timed_out(claimed, None)
        return self._attempts.returned(claimed, result)

    def abandon(self) -> None:
        """Stop waiting for threads that still run."""
        self._threads.abandon()

    def close(self) -> None:
        """Nothing more is going to be run."""
        self._threads.close()

    async def _call(self, call: Call) -> Any:
        if call.is_coroutine:
            return await call.func(*call.args, **call.kwargs)
        result, error = await self._threads.run(functools.partial(call.func, *call.args, **call.kwargs))
        if error is not None:
            raise error
        # A plain function may hand back a coroutine, of a decorator's making for instance.
        return await result if inspect.isawaitable(result) else result

    def _raised(self, running: Running, call: Call, error: BaseException) -> Outcome:
        if running.interruption is Interruption.Shutdown:
            return given_back()
        if running.interruption is Interruption.Timeout:
            return self._attempts.timed_out(running.claimed, error)
        return self._attempts.raised(running.claimed, call, error)
