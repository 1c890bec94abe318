"""PgBouncer in transaction mode between everything, killed and started again on the way."""

from __future__ import annotations

import asyncio

from tests.faults.arena import Arena, Scale
from tests.faults.restarts import interrupted
from tests.pgbouncer import PgBouncer


async def crash(arena: Arena, scale: Scale, bouncer: PgBouncer) -> int:
    """Clients, workers and handlers lose all connections at once: no job is lost; gives the number of crashes."""

    async def interrupt(_: int) -> None:
        bouncer.stop()
        await asyncio.to_thread(bouncer.start)

    return await interrupted(arena, scale, scale.pick(3, 20), interrupt, poll_interval=0.05)
