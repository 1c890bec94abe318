"""Two schedulers in processes of their own, one of each flavour, on one schedule that ticks every second.

    python -m tests.faults.ticking FLAVOUR DSN SCHEMA

Meanwhile the server is restarted, and schedulers are killed. In the end there is one job for each second.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.faults import handlers
from tests.faults.arena import Arena, Scale
from tests.faults.kills import LONG_LEASE
from tests.faults.restarts import MODES

from pgwerk import CronScheduler, SyncCronScheduler, SyncWerk, Werk
from pgwerk.embedded import EmbeddedPostgres

ROOT = Path(__file__).parents[2]
NAME = "every second"
FLAVOURS = ("asyncio", "blocking")
STUCK_SECS = 60.0


async def schedule(arena: Arena, scale: Scale, server: EmbeddedPostgres) -> int:
    """Each tick is enqueued once, whatever happens to schedulers and server; gives the number of faults."""
    ticks, faults = scale.pick(12, 200), scale.pick(4, 20)
    await arena.start(scale.kind(), **LONG_LEASE, concurrency=5)
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(_started(flavour, arena)) for flavour in FLAVOURS]
        await _until_ticked(arena, 2)
        for number in range(faults):
            if number % 2:
                victim = number // 2 % len(processes)
                processes[victim].kill()
                processes[victim] = stack.enter_context(_started(FLAVOURS[victim], arena))
            else:
                await asyncio.to_thread(server.restart, MODES[number // 2 % len(MODES)])
                await arena.tables.forget()
            await _until_ticked(arena, 2 + (ticks - 2) * (number + 1) // faults)
    times = [at for (at,) in await arena.tables.rows("SELECT scheduled_at FROM {jobs} ORDER BY 1")]
    expected = [times[0] + timedelta(seconds=number) for number in range(len(times))]
    if expected != times:
        arena.broke(f"of {len(times)} ticks, {len(times) - len(set(times))} came twice, or some are missing: {times}")
    arena.accepted += [job_id for (job_id,) in await arena.tables.rows("SELECT id::text FROM {jobs}")]
    arena.note(f"{len(times)} ticks")
    await arena.until_over()
    return faults


async def _until_ticked(arena: Arena, count: int) -> None:
    async def ticked() -> bool:
        found: int = await arena.tables.value("SELECT count(*) FROM {jobs}")
        return found >= count

    if not await arena.eventually(ticked, STUCK_SECS):
        arena.broke(f"nothing has ticked for {STUCK_SECS:g} s")


@contextlib.contextmanager
def _started(flavour: str, arena: Arena) -> Iterator[subprocess.Popen[bytes]]:
    """A scheduler in a process of its own, which is killed in the end."""
    command = [sys.executable, "-m", "tests.faults.ticking", flavour, arena.way, arena.schema]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def main(flavour: str, dsn: str, schema: str) -> None:
    """Run a scheduler until it is killed."""
    policy: dict[str, Any] = {
        "cron": "* * * * * *",
        "name": NAME,
        "args": (0.01,),
        "catch_up": "all",
        "timezone": "Europe/Berlin",
    }
    if flavour == "asyncio":
        scheduler = CronScheduler(Werk(dsn, schema=schema))
        scheduler.register(handlers.work, **policy)
        asyncio.run(scheduler.run())
    else:
        blocking = SyncCronScheduler(SyncWerk(dsn, schema=schema, pool_size=2))
        blocking.register(handlers.work, **policy)
        blocking.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
