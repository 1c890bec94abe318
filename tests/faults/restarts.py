"""The server is restarted, in an orderly way and as after a crash, while jobs run and are enqueued."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
from tests.faults import handlers
from tests.faults.arena import Arena, Scale
from tests.faults.kills import LONG_LEASE, mixed

from pgwerk import EnqueueParams, Werk
from pgwerk.embedded import EmbeddedPostgres, StopMode

WORKERS = 2
# With a connection for each call, with connections that are kept, and with several jobs in a call.
ENQUEUERS: tuple[dict[str, Any], ...] = (
    {"pool_size": None, "at_once": 1},
    {"pool_size": 2, "at_once": 1},
    {"pool_size": None, "at_once": 3},
)
# Between two restarts, so many jobs are enqueued and so many come to an end.
STEPS = 40
STUCK_SECS = 20.0

MODES: tuple[StopMode, ...] = ("immediate", "fast")


async def restart(arena: Arena, scale: Scale, server: EmbeddedPostgres) -> int:
    """What was enqueued is never lost, and no attempt is lost either; gives the number of restarts."""

    async def interrupt(number: int) -> None:
        await asyncio.to_thread(server.restart, MODES[number % len(MODES)])

    return await interrupted(arena, scale, scale.pick(3, 10), interrupt)


async def interrupted(
    arena: Arena, scale: Scale, times: int, interrupt: Callable[[int], Awaitable[None]], **options: Any
) -> int:
    """Run and enqueue jobs, and interrupt that so many times.

    The leases are longer than any interruption, so no attempt may be lost to one. The first interruption comes before
    the workers do: whatever else is committed would take along what an enqueue has not made durable.
    """
    enough = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        enqueuers = [tasks.create_task(_enqueue(arena, enough, **each)) for each in ENQUEUERS]
        await _go_on(arena, interrupt, 0, working=False)
        await arena.enqueue(mixed(4 * STEPS, 0.05))
        for number in range(WORKERS):
            await arena.start(scale.kind(number), **{**LONG_LEASE, "concurrency": 5, **options})
        for number in range(1, times):
            await _go_on(arena, interrupt, number, working=True)
        enough.set()
    refused = sum(enqueuer.result() for enqueuer in enqueuers)
    arena.note(f"{refused} calls of enqueue failed, {len(arena.accepted)} jobs were accepted")
    await arena.until_over()
    if again := await arena.tables.value("SELECT count(*) FROM {jobs} WHERE attempts <> 1"):
        arena.broke(f"{again} jobs were charged with an attempt for an interruption")
    return times


async def _go_on(arena: Arena, interrupt: Callable[[int], Awaitable[None]], number: int, *, working: bool) -> None:
    """Interrupt as soon as enough jobs have been enqueued, and have ended, since now."""
    before = len(arena.accepted), await _ended(arena)

    async def enough() -> bool:
        enqueued, ended = len(arena.accepted) - before[0], await _ended(arena) - before[1]
        return enqueued >= STEPS and (ended >= STEPS or not working)

    if not await arena.eventually(enough, STUCK_SECS):
        arena.broke(f"before interruption {number + 1}, nothing went on for {STUCK_SECS:g} s")
    await interrupt(number)
    await arena.tables.forget()


async def _ended(arena: Arena) -> int:
    ended: int = await arena.tables.value("SELECT count(*) FROM {jobs} WHERE completed_at IS NOT NULL")
    return ended


async def _enqueue(arena: Arena, enough: asyncio.Event, *, pool_size: int | None, at_once: int) -> int:
    """Enqueue jobs, one call after the other; gives how many calls have failed."""
    refused = 0
    async with Werk(arena.way, schema=arena.schema, pool_size=pool_size) as app:
        while not enough.is_set():
            try:
                if at_once == 1:
                    jobs = [await app.enqueue(handlers.work, 0.02)]
                else:
                    jobs = await app.enqueue_many([EnqueueParams(handlers.work, (0.02,)) for _ in range(at_once)])
            except psycopg.OperationalError:
                # It may have been committed all the same: nobody has promised that it was not.
                refused += 1
            else:
                arena.accepted += [job.id for job in jobs if job is not None]
            await asyncio.sleep(0.01)
    return refused
