"""Handlers that the tests enqueue."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from pgwerk import Context


async def echo(*args: Any, **kwargs: Any) -> Any:
    """Give back what was passed."""
    return args[0] if args else kwargs


def plain_echo(*args: Any, **kwargs: Any) -> Any:
    """Give back what was passed, from a thread."""
    return args[0] if args else kwargs


async def add(a: int, b: int = 1) -> int:
    return a + b


async def fail(message: str = "boom") -> None:
    raise ValueError(message)


async def fail_later(seconds: float) -> None:
    await asyncio.sleep(seconds)
    raise ValueError("late")


async def hang() -> None:
    await asyncio.Event().wait()


async def stubborn(seconds: float) -> str:
    """Swallow every cancellation until the time is over."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            await asyncio.sleep(until - time.monotonic())
        except asyncio.CancelledError:
            continue
    return "swallowed"


async def cancel_itself() -> None:
    raise asyncio.CancelledError("of its own accord")


async def leave() -> None:
    raise SystemExit(3)


def plain_leave() -> None:
    raise SystemExit(3)


async def bad_result() -> object:
    return object()


async def bad_pickle() -> object:
    return threading.Lock()


async def limits(ctx: Context) -> Any:
    """What the client that the handler gets allows."""
    return ctx.app.allowed_functions


def plain_limits(ctx: Context) -> Any:
    """The same, from a thread."""
    return ctx.app.allowed_functions


async def nul_in_error() -> None:
    raise ValueError("before\0after \ud800")


async def about(ctx: Context, word: str) -> list[Any]:
    """Tell what the context is."""
    return [word, ctx.job.id, ctx.job.attempts, type(ctx.app).__name__, type(ctx.worker).__name__]


def plain_about(ctx: Context, word: str) -> list[Any]:
    """Tell what the context is, from a thread."""
    child = ctx.app.enqueue(echo, word)
    return [word, ctx.job.id, child.id, type(ctx.app).__name__, threading.current_thread() is threading.main_thread()]


async def about_async(ctx: Context, word: str) -> str:
    """Enqueue from within a handler."""
    child = await ctx.app.enqueue(echo, word)
    assert child is not None
    return str(child.id)


def plain_sleep(seconds: float) -> None:
    time.sleep(seconds)


_lock = threading.Lock()
_running = 0


def _enter() -> int:
    global _running  # noqa: PLW0603 - what is counted is the process
    with _lock:
        _running += 1
        return _running


def _leave() -> None:
    global _running  # noqa: PLW0603 - as above
    with _lock:
        _running -= 1


async def count_running(number: int) -> int:
    """How many of these run while this one does."""
    found = _enter()
    await asyncio.sleep(0.01 * (1 + number % 3))
    _leave()
    return found


def plain_count_running(number: int) -> int:
    """How many of these run while this one does, from a thread."""
    found = _enter()
    time.sleep(0.01 * (1 + number % 3))
    _leave()
    return found


def take_memory(megabytes: int) -> int:
    """Take up some memory, and use it."""
    return len(bytearray(b"x") * (megabytes * 1_000_000))
