"""Groups: of the jobs of one group, one runs at a time, whichever process claims it."""

from __future__ import annotations

import random

from tests.faults import handlers
from tests.faults.arena import Arena, Scale

from pgwerk import EnqueueParams

WORKERS = 3
QUEUES = ("default", "other")


async def crowd(arena: Arena, scale: Scale) -> int:
    """Many groups over three processes and two queues: no overlap within a group, ever. No fault is injected."""
    groups, each = scale.pick(40, 200), scale.pick(25, 50)
    names = [f"g{group}" for group in range(groups) for _ in range(each)]
    random.Random(scale.round).shuffle(names)
    await arena.enqueue(
        [
            EnqueueParams(handlers.work_alone, (0.002,), group=name, queue=QUEUES[number % len(QUEUES)])
            for number, name in enumerate(names)
        ]
    )
    for number in range(WORKERS):
        await arena.start(
            scale.kind(number), concurrency=20, queues=list(QUEUES), poll_interval=0.1, heartbeat_interval=10
        )
    await arena.until_over(120)
    overlaps = await arena.tables.value("SELECT count(*) FROM {schema}.overlaps")
    if overlaps:
        arena.broke(f"{overlaps} jobs ran beside another one of their group")
    failed = await arena.tables.value("SELECT count(*) FROM {jobs} WHERE status <> 'complete' OR attempts <> 1")
    if failed:
        arena.broke(f"{failed} jobs did not complete in their first attempt")
    workers = await arena.tables.value("SELECT count(DISTINCT worker_id) FROM {schema}.effects")
    if workers != WORKERS:
        arena.broke(f"only {workers} workers have run jobs of groups")
    return 0
