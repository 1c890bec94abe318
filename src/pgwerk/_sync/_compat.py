"""What differs between asyncio and threads: the seam between the flavours, with a hand-written twin in `_async`.

The twins have the same names and signatures; a test compares them.
"""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Annotated, Any, TypeAlias, TypeVar

FLAVOUR = "blocking"

T = TypeVar("T")
Eventually: TypeAlias = Annotated[T, "at once"]
"""What a function of this flavour gives to whoever calls it."""

_PROCESS = object()


def scope() -> object:
    """What pools and listeners belong to: the process."""
    return _PROCESS


def scope_is_over(scope: object) -> bool:  # noqa: ARG001 - the twin needs it
    """Whether nothing of this scope can be used, or closed, any more."""
    return False


def sleep(secs: float) -> None:
    """Wait for so many seconds."""
    time.sleep(secs)


class Lock:
    """A lock between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lock.release()


class Signal:
    """A flag that one thread waits for and others set."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Raise the flag."""
        self._event.set()

    def clear(self) -> None:
        """Lower the flag."""
        self._event.clear()

    def wait(self, timeout: float) -> bool:
        """Wait until the flag is up, for so many seconds at most; returns whether it is."""
        return self._event.wait(max(timeout, 0))


class Background:
    """A function that runs beside everything else, in a daemon thread, until it returns."""

    def __init__(self, func: Callable[[], Eventually[None]], name: str) -> None:
        self._thread = threading.Thread(target=func, name=name, daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join()


def call(func: Callable[..., Any], *args: Any) -> Any:
    """Call a hook, which is a plain function.

    Raises:
        TypeError: It returned something to be awaited, although it is no coroutine function.
    """
    result = func(*args)
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()
        raise TypeError(f"{func!r} returned something to be awaited, which SyncWerk cannot do; use a plain function")
    return result


def check_hook(func: Callable[..., Any], what: str) -> None:
    """Refuse what `call` could not call.

    Raises:
        TypeError: It is not callable, or a coroutine function.
    """
    if not callable(func):
        raise TypeError(f"{what} must be a function, not {type(func).__name__} ({func!r})")
    if inspect.iscoroutinefunction(func):
        raise TypeError(
            f"{what} must be a plain function: SyncWerk cannot await {func!r}; use Werk, or a plain function"
        )
