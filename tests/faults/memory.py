"""Memory: a worker that has run a hundred thousand jobs needs no more of it than one that has run ten thousand."""

from __future__ import annotations

from tests.faults import handlers
from tests.faults.arena import Arena, Scale

from pgwerk import EnqueueParams

BATCH = 5000
MIB = 1 << 20


async def grow(arena: Arena, scale: Scale) -> int:
    """Memory at the end, against that after the first jobs. No fault is injected.

    10% more are allowed. The short form has fewer jobs to fill caches with, and to leak from.
    """
    first, total = scale.pick(5000, 10_000), scale.pick(20_000, 100_000)
    for begin in range(0, total, BATCH):
        await arena.enqueue([EnqueueParams(handlers.work_briefly) for _ in range(min(BATCH, total - begin))])
    worker = await arena.start("async", concurrency=50)
    early = late = 0

    async def reached(goal: int) -> bool:
        return bool(goal <= await arena.tables.value("SELECT last_value FROM {schema}.effects_number_seq"))

    if await arena.eventually(lambda: reached(first), 60):
        early = worker.memory
    if await arena.eventually(lambda: reached(total), 300):
        await arena.until_over()
        late = worker.memory
    arena.note(f"{early / MIB:.1f} MiB after {first:,} jobs, {late / MIB:.1f} MiB after {total:,}")
    if not (early and late):
        arena.broke("the jobs were not run in time")
    elif late > 1.1 * early:
        arena.broke(f"memory grew by {late / early - 1:.0%}, from {early / MIB:.1f} MiB to {late / MIB:.1f} MiB")
    return 0
