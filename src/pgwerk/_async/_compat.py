"""What differs between asyncio and threads: the seam between the flavours, with a hand-written twin in `_sync`.

Nothing else in this package mentions asyncio. The twins have the same names and signatures; a test compares them.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import inspect
import threading
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

from pgwerk._core.execution import Call, Ending

FLAVOUR = "asyncio"
RUNS_COROUTINES = True
"""Whether it is coroutine functions that get a client of this flavour in their `Context`."""

T = TypeVar("T")
Eventually: TypeAlias = Awaitable[T]
"""What a function of this flavour gives to whoever calls it."""


def scope() -> object:
    """What pools and listeners belong to: the running event loop."""
    return asyncio.get_running_loop()


def scope_is_over(scope: object) -> bool:
    """Whether nothing of this scope can be used, or closed, any more."""
    return isinstance(scope, asyncio.AbstractEventLoop) and scope.is_closed()


async def sleep(secs: float) -> None:
    """Wait for so many seconds."""
    await asyncio.sleep(secs)


class Lock:
    """A lock between tasks, also of several event loops in several threads.

    `asyncio.Lock` belongs to one loop, and an application may have more. What it guards is short and seldom contended,
    so whoever finds it taken looks again a little later.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    async def __aenter__(self) -> None:
        while not self._lock.acquire(blocking=False):  # noqa: ASYNC110 - an event belongs to one loop, too
            await asyncio.sleep(0.002)

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lock.release()


class Signal:
    """A flag that one task waits for and others of the same loop set."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """Raise the flag."""
        self._event.set()

    def clear(self) -> None:
        """Lower the flag."""
        self._event.clear()

    async def wait(self, timeout: float) -> bool:
        """Wait until the flag is up, for so many seconds at most; returns whether it is."""
        deadline = time.monotonic() + timeout
        if self._event.is_set() or timeout <= 0:
            return self._event.is_set()
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await self._event.wait()
        except TimeoutError:
            return self._event.is_set()
        return True


class Alarm:
    """What one task sleeps until, and others ring: from any thread, and from signal handlers."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def ring(self) -> None:
        """End the sleep, or the next one if nobody sleeps."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody sleeps
            self._loop.call_soon_threadsafe(self._event.set)

    async def sleep(self, secs: float) -> None:
        """Sleep until it rings, for so many seconds at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(secs, 0)):
                await self._event.wait()
        self._event.clear()


class Background:
    """A coroutine function that runs beside everything else, until it returns."""

    def __init__(self, func: Callable[[], Eventually[None]], name: str) -> None:
        self._task = asyncio.ensure_future(self._run(func))
        self._task.set_name(name)

    async def _run(self, func: Callable[[], Eventually[None]]) -> None:
        await func()

    async def join(self, timeout: float | None = None) -> None:
        """Wait for its end, for so many seconds at most."""
        await asyncio.wait([self._task], timeout=timeout)


async def call(func: Callable[..., Any], *args: Any) -> Any:
    """Call a hook, which may be a coroutine function or a plain one."""
    result = func(*args)
    return await result if inspect.isawaitable(result) else result


async def run_worker(worker: Any) -> None:
    """Run a worker until it is stopped."""
    await worker.run()


async def execute(call: Call, timeout: float | None) -> Ending:
    """Call a handler or a callback, and wait for its end.

    A coroutine function runs on this event loop, in a task of its own. A plain function runs in a thread, in the
    context of the caller. After `timeout` seconds a coroutine is cancelled; a thread cannot be stopped and is waited
    for. So they are when the caller is cancelled; cancelled again, it waits no more.

    Raises:
        BaseException: The caller was cancelled, or the function raised what is no `Exception` and meant for whoever
            called it, such as `SystemExit`.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    func = functools.partial(call.func, *call.args, **call.kwargs)
    ending = await (_in_task(func, deadline) if call.is_coroutine else _in_thread(func, deadline))
    if not call.is_coroutine and inspect.isawaitable(ending.result):
        # A plain function may hand back a coroutine, of a decorator's making for instance.
        ending = await _in_task(functools.partial(lambda result: result, ending.result), deadline)
    if ending.error is not None and not isinstance(ending.error, (Exception, asyncio.CancelledError)):
        raise ending.error
    return ending


async def _in_task(func: Callable[[], Awaitable[Any]], deadline: float | None) -> Ending:
    async def caught() -> Ending:
        # In the task, because one that ends with a SystemExit takes the event loop along.
        try:
            return Ending(result=await func())
        except BaseException as error:
            return Ending(error=error)

    task = asyncio.ensure_future(caught())
    try:
        done, _ = await asyncio.wait([task], timeout=_left(deadline))
        if not done:
            task.cancel()
            await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait([task])
        raise
    return task.result()._replace(timed_out=not done)


async def _in_thread(func: Callable[[], Any], deadline: float | None) -> Ending:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Ending] = loop.create_future()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            ending = Ending(result=context.run(func))
        except BaseException as error:
            ending = Ending(error=error)
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits
            loop.call_soon_threadsafe(deliver, ending)

    def deliver(ending: Ending) -> None:
        if not future.done():
            future.set_result(ending)

    # No pool: it would keep the process from ending as long as the function runs.
    threading.Thread(target=work, name="pgwerk-handler", daemon=True).start()
    try:
        await asyncio.wait([future])
    except asyncio.CancelledError:
        await asyncio.wait([future])
        raise
    return future.result()._replace(timed_out=_left(deadline) == 0)


def _left(deadline: float | None) -> float | None:
    """Seconds until then."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def check_hook(func: Callable[..., Any], what: str) -> None:
    """Refuse what `call` could not call.

    Raises:
        TypeError: It is not callable.
    """
    if not callable(func):
        raise TypeError(f"{what} must be a function, not {type(func).__name__} ({func!r})")
