"""What differs between asyncio and threads: the seam between the flavours, with a hand-written twin in `_sync`.

Nothing else in this package mentions asyncio. The twins have the same names and signatures; a test compares them.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

FLAVOUR = "asyncio"

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


class Background:
    """A coroutine function that runs beside everything else, until it returns."""

    def __init__(self, func: Callable[[], Eventually[None]], name: str) -> None:
        self._task = asyncio.ensure_future(self._run(func))
        self._task.set_name(name)

    async def _run(self, func: Callable[[], Eventually[None]]) -> None:
        await func()

    async def join(self) -> None:
        """Wait for its end."""
        await asyncio.wait([self._task])


async def call(func: Callable[..., Any], *args: Any) -> Any:
    """Call a hook, which may be a coroutine function or a plain one."""
    result = func(*args)
    return await result if inspect.isawaitable(result) else result


def check_hook(func: Callable[..., Any], what: str) -> None:
    """Refuse what `call` could not call.

    Raises:
        TypeError: It is not callable.
    """
    if not callable(func):
        raise TypeError(f"{what} must be a function, not {type(func).__name__} ({func!r})")
