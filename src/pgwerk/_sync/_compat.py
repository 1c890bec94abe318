"""What differs between asyncio and threads: the seam between the flavours, with a hand-written twin in `_async`.

The twins have the same names and signatures; a test compares them.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import inspect
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future, wait
from types import TracebackType
from typing import Annotated, Any, TypeAlias, TypeVar

from pgwerk._core.execution import Call, Ending

FLAVOUR = "blocking"
RUNS_COROUTINES = False
"""Whether it is coroutine functions that get a client of this flavour in their `Context`."""

T = TypeVar("T")
Eventually: TypeAlias = Annotated[T, "at once"]
"""What a function of this flavour gives to whoever calls it."""

_PROCESS = object()
_STARTING_SECS = 1.0


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


class Alarm:
    """What one thread sleeps until, and others ring: from any thread, and from signal handlers.

    An event would not do: a handler runs in the thread that may be about to sleep, and hold the event's lock.
    """

    def __init__(self) -> None:
        self._rings: queue.SimpleQueue[None] = queue.SimpleQueue()

    def ring(self) -> None:
        """End the sleep, or the next one if nobody sleeps."""
        self._rings.put(None)

    def sleep(self, secs: float) -> None:
        """Sleep until it rings, for so many seconds at most."""
        with contextlib.suppress(queue.Empty):
            self._rings.get(timeout=max(secs, 0))
        with contextlib.suppress(queue.Empty):
            while True:
                self._rings.get_nowait()


class Background:
    """A function that runs beside everything else, in a daemon thread, until it returns."""

    def __init__(self, func: Callable[[], Eventually[None]], name: str) -> None:
        self._thread = threading.Thread(target=func, name=name, daemon=True)
        self._thread.start()

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, for so many seconds at most."""
        self._thread.join(timeout)


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


def run_worker(worker: Any) -> None:
    """Run a worker until it is stopped."""
    worker.run_blocking()


def execute(call: Call, timeout: float | None) -> Ending:
    """Call a handler or a callback, and wait for its end.

    A plain function runs in this thread and cannot be stopped: after `timeout` seconds it is waited for. A coroutine
    function runs on an event loop of its own and is cancelled then, in this thread or, when a loop runs here already,
    in another one with the same context.

    Raises:
        BaseException: The function raised what is no `Exception` and meant for whoever called it, such as
            `KeyboardInterrupt` or `SystemExit`.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    func = functools.partial(call.func, *call.args, **call.kwargs)
    ending = _in_loop(func, deadline) if call.is_coroutine else _here(func, deadline)
    if not call.is_coroutine and inspect.isawaitable(ending.result):
        # A plain function may hand back a coroutine, of a decorator's making for instance.
        ending = _in_loop(functools.partial(lambda result: result, ending.result), deadline)
    if ending.error is not None and not isinstance(ending.error, (Exception, asyncio.CancelledError)):
        raise ending.error
    return ending


def _here(func: Callable[[], Any], deadline: float | None) -> Ending:
    try:
        ending = Ending(result=func())
    except BaseException as error:
        ending = Ending(error=error)
    return ending._replace(timed_out=_left(deadline) == 0)


def _in_loop(func: Callable[[], Awaitable[Any]], deadline: float | None) -> Ending:
    async def caught() -> Ending:
        # In the task, because one that ends with a SystemExit takes the event loop along.
        try:
            return Ending(result=await func())
        except BaseException as error:
            return Ending(error=error)

    async def main() -> Ending:
        task = asyncio.ensure_future(caught())
        done, _ = await asyncio.wait([task], timeout=_left(deadline))
        if not done:
            task.cancel()
            await asyncio.wait([task])
        return task.result()._replace(timed_out=not done)

    return _run_in_thread(main) if _has_loop() else asyncio.run(main())


def _has_loop() -> bool:
    """Whether an event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _run_in_thread(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """As `asyncio.run`, in a thread of its own: no thread has two loops."""
    future: Future[T] = Future()
    cancel: list[Callable[[], Any]] = []
    interrupted = threading.Event()

    async def cancellable() -> T:
        task = asyncio.current_task()
        if task is not None:
            cancel.append(functools.partial(asyncio.get_running_loop().call_soon_threadsafe, task.cancel))
            if interrupted.is_set():
                task.cancel()
        return await main()

    def work() -> None:
        try:
            future.set_result(asyncio.run(cancellable()))
        except BaseException as error:
            future.set_exception(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=[work], name="pgwerk-handler", daemon=True)
    try:
        thread.start()
        thread.join()
    except BaseException:
        # By a signal, be it while the thread starts. What runs there is not to outlive the call.
        interrupted.set()
        with contextlib.suppress(RuntimeError):  # the loop is closed: it has just ended
            for each in cancel:
                each()
        if thread.is_alive():
            thread.join()
        else:
            wait([future], timeout=_STARTING_SECS)
        raise
    return future.result()


def _left(deadline: float | None) -> float | None:
    """Seconds until then."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())


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
