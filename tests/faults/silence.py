"""Connections that die without a word: a worker notices within its heartbeat interval.

Whatever is sent vanishes, and no end is told, while the network acknowledges what it swallows, as a proxy or a NAT
gateway does: keepalives and `tcp_user_timeout` see nothing wrong with it. New connections work. That a worker has
noticed shows in that it goes on with what it did over the dead connection, over another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from tests.faults import handlers
from tests.faults.arena import Arena, Scale
from tests.faults.connections import OPPORTUNITY_SECS
from tests.faults.network import Fault, Kind, Network, Side

from pgwerk import EnqueueParams, Retry
from pgwerk._sql import Names

HEARTBEAT_SECS = 1.0
ALLOWED_SECS = HEARTBEAT_SECS + 0.75
"""The interval, and what it takes a busy machine to open a connection and go on."""
WATCHED_SECS = 4 * HEARTBEAT_SECS
"""Longer than the lease: whoever has not noticed by then has lost its jobs."""
OPTIONS: dict[str, Any] = {
    "heartbeat_interval": HEARTBEAT_SECS,
    "sweep_interval": 1000,
    "poll_interval": 0.2,
    "concurrency": 4,
    "shutdown_timeout": 1,
}

# At what these connections do most of the time.
SHORT = (
    Fault("claim_ungrouped", Kind.HALF_OPEN, Side.REQUEST),
    Fault("settle_complete", Kind.HALF_OPEN, Side.ANSWER),
    Fault("heartbeat", Kind.HALF_OPEN, Side.REQUEST),
)
MORE = (
    Fault("claim_ungrouped", Kind.HALF_OPEN, Side.ANSWER),
    Fault("promote_due", Kind.HALF_OPEN, Side.REQUEST),
    Fault("count_ready", Kind.HALF_OPEN, Side.ANSWER),
    Fault("settle_complete", Kind.HALF_OPEN, Side.REQUEST),
    Fault("heartbeat", Kind.HALF_OPEN, Side.ANSWER),
)
# The worst moment for the connection that listens: it has just been found to be alive.
LISTENING = (Fault("ping", Kind.HALF_OPEN, Side.AFTERWARDS),)
GOES_ON_WITH = {
    **dict.fromkeys(("claim_ungrouped", "promote_due", "count_ready"), "claim_ungrouped"),
    # Not with heartbeats: in case of need they are sent over another connection anyway.
    **dict.fromkeys(("settle_complete", "heartbeat"), "settle_complete"),
    "ping": "listen",
}
"""What is sent over the same connection as these, and shows that there is a new one."""
AT_WORK = {"claim_ungrouped", "settle_complete", "heartbeat", "listen", "notify"}
"""What has been sent when a worker has opened all connections that it keeps."""


async def working(arena: Arena, scale: Scale) -> int:
    """Let connections die over which a worker claims and settles; gives their number."""
    return await die(arena, scale, SHORT + MORE if scale.full else SHORT)


async def listening(arena: Arena, scale: Scale) -> int:
    """Let the connection die over which a worker listens; gives 1."""
    return await die(arena, scale, LISTENING)


async def die(arena: Arena, scale: Scale, faults: Sequence[Fault]) -> int:
    """Let one connection of each worker die; gives their number."""
    enough = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(feed(arena, enough))
        noticed = await asyncio.gather(*(notice(arena, fault, scale.kind()) for fault in faults))
        enough.set()
    for fault, secs in zip(faults, noticed, strict=True):
        when = f"not noticed within {WATCHED_SECS:g} s" if secs is None else f"noticed after {secs:.1f} s"
        if secs is None or secs > ALLOWED_SECS:
            arena.broke(f"{fault}: {when}; the heartbeat interval is {HEARTBEAT_SECS:g} s")
        else:
            arena.note(f"{fault}: {when}")
    # Somebody else takes over what was lost meanwhile.
    await arena.start(scale.kind(), **OPTIONS)
    await arena.until_over()
    return len(faults)


async def notice(arena: Arena, fault: Fault, kind: str) -> float | None:
    """How many seconds a worker takes to notice that a connection is dead; None when it does not."""
    async with Network(arena.dsn, Names(arena.schema, arena.app.config.prefix)) as network:
        worker = await arena.start(kind, dsn=network.dsn, **OPTIONS)

        async def at_work() -> bool:
            return network.seen >= AT_WORK

        assert await arena.eventually(at_work, OPPORTUNITY_SECS), AT_WORK - network.seen
        at = await network.hit(fault, OPPORTUNITY_SECS)
        assert at is not None, fault
        again = await network.heard(GOES_ON_WITH[fault.statement], at, WATCHED_SECS)
        if again is None:
            # It hangs in what was sent, and is not to be waited for.
            worker.kill()
            await worker.ended()
            return None
        await arena.stop([worker])
        return again - at


async def feed(arena: Arena, enough: asyncio.Event) -> None:
    """Something to do for all workers, all the time."""
    while not enough.is_set():
        await arena.enqueue([EnqueueParams(handlers.work, (0.01,), retry=Retry(max=50)) for _ in range(20)])
        await asyncio.sleep(0.1)
