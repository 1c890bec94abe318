"""Handlers for tests about how handlers start: what they do before they wait for anything, if they ever do."""

from __future__ import annotations

import asyncio
import contextvars
import time
from typing import Any

from pgwerk import Job
from pgwerk._core.logs import current_job

left: contextvars.ContextVar[str] = contextvars.ContextVar("left", default="nothing")

seen: list[str] = []
"""What has run."""


async def whose_task() -> list[Any]:
    """Whether the current task is the handler's own, before and after it has waited."""
    first = asyncio.current_task()
    assert first is not None
    listed = first in asyncio.all_tasks()
    await asyncio.sleep(0)
    return [
        first is asyncio.current_task(),
        listed or first in asyncio.all_tasks(),
        first.get_name().startswith("Task"),
    ]


async def leave_a_variable(number: int, waits: bool) -> list[str]:
    """Set a context variable, and tell what was in it, and which job this is."""
    before = left.get()
    left.set(f"job {number}")
    if waits:
        await asyncio.sleep(0)
    assert left.get() == f"job {number}"
    return [before, str(current_job.get())]


async def time_out_at_once() -> str:
    """Wait for what does not come, with a time-out that begins in the first step."""
    try:
        async with asyncio.timeout(0.001):
            await asyncio.Event().wait()
    except TimeoutError:
        return "timed out"
    return "not timed out"


async def use_a_group() -> list[int]:
    """Start tasks in the first step, and wait for them."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_give(number)) for number in range(3)]
    return [task.result() for task in tasks]


async def fail_in_a_group() -> str:
    """Have a task fail in the group that the first step has made."""
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_fail())
            await asyncio.Event().wait()
    except* ValueError:
        pass
    return "went on"


async def cancel_own_task(then: str) -> str:
    """Cancel the task that the handler runs in, and return, or wait."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    if then == "wait":
        await asyncio.sleep(1000)
    return "returned"


async def note(word: str) -> str:
    """Write down that it has run."""
    seen.append(word)
    return word


async def hang_and_note(job: Job) -> None:
    """A callback that does not end, and writes down that it has begun."""
    seen.append(f"callback of {job.id}")
    await asyncio.Event().wait()


async def block(secs: float) -> None:
    """Block the event loop in the first step."""
    time.sleep(secs)  # noqa: ASYNC251 - the point of it


async def _give(number: int) -> int:
    await asyncio.sleep(0)
    return number


async def _fail() -> None:
    raise ValueError("in a group")
