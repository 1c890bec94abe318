"""Threads for what would block the event loop: handlers that are plain functions, and plain hooks.

A pool of our own, because `concurrent.futures` waits for its threads at the interpreter's exit, and a thread whose
handler never returns would keep the process from ending. These are daemon threads.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

from attrs import define

from pgwerk.worker import stacks
from pgwerk.worker.loops import close_loop_of_thread

Ending: TypeAlias = tuple[Any, BaseException | None]
"""What a function returned, or what it raised."""


class LeftRunningError(Exception):
    """Nobody waits for the function any more, and it still runs."""


@define(eq=False)
class _Call:
    func: Callable[[], Any]
    context: contextvars.Context
    future: asyncio.Future[Ending]
    loop: asyncio.AbstractEventLoop
    thread: int | None = None


class Threads:
    """As many threads as there are calls at one time; each is used again.

    Args:
        name: What the threads' names begin with.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._by_key: dict[object, _Call] = {}
        self._started = 0
        self._busy = 0
        self._abandoned = False

    async def run(
        self, func: Callable[[], Any], *, key: object = None, on_cancel: Callable[[], None] | None = None
    ) -> Ending:
        """Call a function in a thread, in the context of the caller.

        A thread cannot be stopped, so a cancellation is put off until the function has returned.

        Args:
            func: The function.
            key: What `stack` finds the call by.
            on_cancel: Called when a cancellation arrives: it may have a way to make the function return.

        Raises:
            LeftRunningError: It was cancelled and nobody is to wait any more; the function goes on.
        """
        loop = asyncio.get_running_loop()
        call = _Call(func, contextvars.copy_context(), loop.create_future(), loop)
        self._by_key[key] = call
        self._busy += 1
        if self._busy > self._started:
            self._started += 1
            threading.Thread(target=self._work, name=f"{self._name}-{self._started}", daemon=True).start()
        self._calls.put(call)
        may_return = on_cancel is not None
        try:
            while True:
                try:
                    return await asyncio.shield(call.future)
                except asyncio.CancelledError:
                    if self._abandoned and not may_return:
                        raise LeftRunningError from None
                    if on_cancel is not None:
                        on_cancel()
                        may_return = False
        finally:
            self._busy -= 1
            if self._by_key.get(key) is call:
                del self._by_key[key]

    def stack(self, key: object) -> str:
        """Where a call is just now; empty if it does not run."""
        call = self._by_key.get(key)
        return "" if call is None or call.thread is None else stacks.of_thread(call.thread)

    def abandon(self) -> None:
        """Stop waiting for threads that still run; they end with the process."""
        self._abandoned = True

    def close(self) -> None:
        """Let the threads end, those that are busy when they have done their work."""
        for _ in range(self._started):
            self._calls.put(None)
        self._started = 0

    def _work(self) -> None:
        try:
            while (call := self._calls.get()) is not None:
                call.thread = threading.get_ident()
                try:
                    ending: Ending = (call.context.run(call.func), None)
                except BaseException as error:  # whatever a handler raises belongs to its job, not to this thread
                    ending = (None, error)
                _deliver(call, ending)
                del call, ending
        finally:
            close_loop_of_thread()


def _deliver(call: _Call, ending: Ending) -> None:
    def deliver() -> None:
        if not call.future.done():
            call.future.set_result(ending)

    try:
        call.loop.call_soon_threadsafe(deliver)
    except RuntimeError:
        # The loop is closed: the worker was stopped for good before the handler returned, and nobody waits.
        return
