"""What users have called around the run of a handler, in the worker's own process, whatever its kind.

Coroutine functions run on the event loop, plain ones in threads, so that none of them holds up heartbeats. Context
variables that a hook sets before a handler are there in that handler, if it runs in this process. What a hook raises is
logged with its name, and changes nothing.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import logging
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from pgwerk._core.calls import is_coroutine_function
from pgwerk._core.context import Context
from pgwerk._core.models import Job
from pgwerk._core.serializers import Serializer
from pgwerk.worker.execution import RunKey, Running
from pgwerk.worker.threads import LeftRunningError, Threads

logger = logging.getLogger("pgwerk.worker")

Hook: TypeAlias = Callable[[Context], Any]
"""Called with the context of a job; what it returns is awaited if that can be awaited, and ignored."""

ExceptionHandler: TypeAlias = Callable[[Job, BaseException], Any]
"""Called with a job and what its attempt failed with. `False` keeps those from being called that were pushed before."""


class MakeContext(Protocol):
    """Makes the context of a job; told whether it is a coroutine function that gets it."""

    def __call__(self, job: Job, is_coroutine: bool, exception: BaseException | None = None) -> Context:
        """The context."""
        ...


class Hooks:
    """The hooks of one worker.

    Args:
        context: Makes the contexts that hooks get.
        serializer: What the jobs' payloads are read with.

    Attributes:
        before: Called before each handler, in this order.
        after: Called after each handler, in this order.
        on_exception: Called when an attempt has failed, the last one first.
    """

    def __init__(self, context: MakeContext, serializer: Serializer) -> None:
        self.before: list[Hook] = []
        self.after: list[Hook] = []
        self.on_exception: list[ExceptionHandler] = []
        self._context = context
        self._serializer = serializer
        self._threads = Threads("pgwerk-hook")

    async def run_before(self, running: Running) -> None:
        """Call what comes before the handler.

        Raises:
            asyncio.CancelledError: The worker stops the run.
        """
        job = running.claimed.job(self._serializer)
        for hook in list(self.before):
            await self._call(running, "before_process", hook, functools.partial(self._context, job))
            if running.interruption is not None:
                # A thread cannot be stopped, and a coroutine may have swallowed its cancellation.
                raise asyncio.CancelledError

    async def run_after(self, running: Running, exception: BaseException | None) -> None:
        """Call what comes after the handler, with what it raised.

        Raises:
            asyncio.CancelledError: The worker stops the run.
        """
        job = running.claimed.job(self._serializer)
        for hook in list(self.after):
            await self._call(running, "after_process", hook, functools.partial(self._context, job, exception=exception))

    async def handle(self, running: Running, error: BaseException) -> None:
        """Call what handles exceptions.

        Raises:
            asyncio.CancelledError: The worker stops the run.
        """
        job = running.claimed.job(self._serializer)
        for handler in reversed(list(self.on_exception)):
            if (
                await self._call(running, "exception handler", functools.partial(handler, job), lambda _: error)
                is False
            ):
                return

    def stack(self, running: Running) -> str:
        """Where the hook is just now that a run is in; empty if it is in none that runs in a thread."""
        return self._threads.stack(running.key)

    def abandon(self) -> None:
        """Stop waiting for threads that still run."""
        self._threads.abandon()

    def close(self) -> None:
        """Nothing more is going to be called."""
        self._threads.close()

    async def _call(
        self, running: Running, kind: str, hook: Callable[[Any], Any], argument: Callable[[bool], Any]
    ) -> Any:
        running.hook = f"{kind} {_name(hook)}"
        try:
            if is_coroutine_function(hook):
                return await hook(argument(True))
            result = await self._in_thread(functools.partial(hook, argument(False)), running.key)
            return await result if inspect.isawaitable(result) else result
        except BaseException as error:  # a SystemExit, too, is no reason to end the worker
            if isinstance(error, asyncio.CancelledError) and running.interruption is not None:
                raise
            logger.error("%s failed in job %s", running.hook, running.claimed.id, exc_info=error)
            return None
        finally:
            running.hook = None

    async def _in_thread(self, func: Callable[[], Any], key: RunKey) -> Any:
        context = contextvars.copy_context()
        try:
            result, error = await self._threads.run(functools.partial(context.run, func), key=key)
        except LeftRunningError:
            raise asyncio.CancelledError from None
        # What it has set is to be seen in the handler, as if it had run here.
        for variable, value in context.items():
            if variable.get(None) is not value:
                variable.set(value)
        if error is not None:
            raise error
        return result


def _name(hook: Callable[..., Any]) -> str:
    while isinstance(hook, functools.partial):
        hook = hook.func
    return f"{getattr(hook, '__module__', '')}.{getattr(hook, '__qualname__', repr(hook))}".lstrip(".")
