"""Running a handler, and telling what came of it.

An executor is what the four kinds of workers differ in: it gets a running job and gives back the outcome to settle. It
never raises for what a handler does, whatever that is.
"""

from __future__ import annotations

import asyncio
import enum
import functools
import inspect
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from pgwerk._core.calls import accepts, is_coroutine_function, wants_context
from pgwerk._core.context import Context
from pgwerk._core.envelope import pack, unpack
from pgwerk._core.errors import JobTimeout, SerializationError
from pgwerk._core.failures import describe
from pgwerk._core.logs import current_job
from pgwerk._core.paths import resolve
from pgwerk._core.policy import Outcome, after_failure, after_success, given_back
from pgwerk._core.serializers import Serializer, dumps_value, loads_payload
from pgwerk.worker.claimed import Claimed
from pgwerk.worker.threads import LeftRunningError, Threads

logger = logging.getLogger("pgwerk.worker")

LARGEST_RESULT = 250_000_000
"""Characters. PostgreSQL's jsonb holds 256 MB at most."""


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


class _Call(NamedTuple):
    """A handler and what it is called with."""

    handler: Callable[..., Any]
    args: Sequence[Any]
    kwargs: dict[str, Any]
    is_coroutine: bool


class LoopExecutor:
    """Runs coroutine functions on the event loop, and plain functions in threads.

    Args:
        serializer: What payloads and results are serialized with.
        context: Makes the `Context` of a job; told whether the handler is a coroutine function.
    """

    def __init__(self, serializer: Serializer, context: Callable[[Claimed, bool], Context]) -> None:
        self._serializer = serializer
        self._context = context
        self._threads = Threads("pgwerk-handler")

    async def execute(self, running: Running) -> Outcome | None:
        """Run the handler of a job; None when it was left running in its thread."""
        claimed = running.claimed
        current_job.set(claimed.id)
        try:
            call = self._prepare(claimed)
        except BaseException as error:  # a module may raise anything while it is imported
            # A worker of another release may know the function; nobody will be able to read the payload.
            return self._failed(claimed, error, retry=not isinstance(error, SerializationError))
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
            return self._timed_out(running, None)
        return self._succeeded(claimed, result)

    def abandon(self) -> None:
        """Stop waiting for threads that still run."""
        self._threads.abandon()

    def close(self) -> None:
        """Nothing more is going to be run."""
        self._threads.close()

    def _prepare(self, claimed: Claimed) -> _Call:
        handler = resolve(claimed.function)
        args: Sequence[Any] = ()
        kwargs: dict[str, Any] = {}
        if claimed.payload is not None:
            args, kwargs = loads_payload(self._serializer, unpack(claimed.payload))
        is_coroutine = is_coroutine_function(handler)
        if wants_context(handler):
            args = (self._context(claimed, is_coroutine), *args)
        return _Call(handler, args, kwargs, is_coroutine)

    async def _call(self, call: _Call) -> Any:
        if call.is_coroutine:
            return await call.handler(*call.args, **call.kwargs)
        result, error = await self._threads.run(functools.partial(call.handler, *call.args, **call.kwargs))
        if error is not None:
            raise error
        # A plain function may hand back a coroutine, of a decorator's making for instance.
        return await result if inspect.isawaitable(result) else result

    def _raised(self, running: Running, call: _Call, error: BaseException) -> Outcome:
        if running.interruption is Interruption.Shutdown:
            return given_back()
        if running.interruption is Interruption.Timeout:
            return self._timed_out(running, error)
        # Arguments that do not fit will not fit the next time either.
        misfit = isinstance(error, TypeError) and accepts(call.handler, call.args, call.kwargs, False) is not None
        return self._failed(running.claimed, error, retry=not misfit)

    def _succeeded(self, claimed: Claimed, result: Any) -> Outcome:
        try:
            packed = pack(dumps_value(self._serializer, result, f"the result of {claimed.function}()"))
        except SerializationError as error:
            # It has run, and would give the same again.
            return self._failed(claimed, error, retry=False)
        if len(packed) > LARGEST_RESULT:
            size = f"{len(packed):,} characters as JSON, of {LARGEST_RESULT:,} allowed"
            too_large = SerializationError(f"the result of {claimed.function}() is too large: {size}")
            return self._failed(claimed, too_large, retry=False)
        return after_success(claimed, packed)

    def _failed(self, claimed: Claimed, error: BaseException, *, retry: bool) -> Outcome:
        outcome = after_failure(claimed, describe(error), retry=retry)
        logger.warning(
            "attempt %d of %d at job %s (%s) failed with %s: %s",
            claimed.attempts,
            claimed.max_attempts,
            claimed.id,
            claimed.function,
            type(error).__name__,
            outcome.status.value,
        )
        return outcome

    def _timed_out(self, running: Running, error: BaseException | None) -> Outcome:
        timeout = JobTimeout(f"the job ran for longer than its time-out of {running.claimed.timeout_secs} s")
        timeout.__cause__ = error
        return self._failed(running.claimed, timeout, retry=True)
