"""SIGKILL, SIGTERM and SIGSTOP of random workers while jobs run."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from tests.faults import handlers
from tests.faults.arena import Arena, Scale
from tests.faults.workers import Worker

from pgwerk import EnqueueParams, Retry

INTERVAL_SECS = 0.2
WORKERS = 4
CONCURRENCY = 5
# Short leases, so that jobs of the killed come back soon. The longer the machine takes to schedule a process, the more
# workers lose jobs that they still run: their outcomes must then be dropped.
SHORT_LEASE: dict[str, Any] = {"heartbeat_interval": 0.15, "sweep_interval": 0.5, "poll_interval": 0.5}
LONG_LEASE: dict[str, Any] = {"heartbeat_interval": 10, "sweep_interval": 1, "poll_interval": 0.2}
# As many of them as there are at a time would else run out of connections.
WORKING_ON_SECS = 2.0
ENOUGH = Retry(max=200)


def mixed(number: int, secs: float, retry: int | Retry = 1) -> list[EnqueueParams]:
    """So many jobs, every second one a plain function."""
    functions = (handlers.work, handlers.work_plain)
    return [EnqueueParams(functions[each % 2], (secs,), retry=retry) for each in range(number)]


async def kill(arena: Arena, scale: Scale, kind: str) -> int:
    """SIGKILL of a random worker every 200 ms: whatever it ran is run again by others; gives the number of kills."""
    number = scale.pick(300, 3000)
    await arena.enqueue(mixed(number, 0.1, ENOUGH))
    options = {"concurrency": CONCURRENCY, **SHORT_LEASE}
    workers = [await arena.start(kind, **options) for _ in range(WORKERS)]
    kills, moments = 0, random.Random(scale.round)
    await arena.until_ready(*workers)
    # The last ones are left alone: they would be run again and again, as long as they are killed. So are kinds of
    # workers that take long to start, at some time: hardly any of them gets to work meanwhile.
    while kills < scale.pick(20, 200) and await arena.goes_on(number // 20, scale.pick(40, 300)):
        victim = moments.randrange(WORKERS)
        workers[victim].kill()
        kills += 1
        workers[victim] = await arena.start(kind, **options)
        await asyncio.sleep(INTERVAL_SECS)
    await arena.until_over(scale.pick(40, 300))
    return kills


async def terminate(arena: Arena, scale: Scale, kind: str, patience: float) -> int:
    """SIGTERM to a random worker every 200 ms: no attempt is counted for what it gives back; gives their number."""
    number = scale.pick(250, 3000)
    await arena.enqueue(mixed(number, 0.1))
    options = {"concurrency": CONCURRENCY, "shutdown_timeout": patience, **LONG_LEASE}
    workers = [await arena.start(kind, **options) for _ in range(WORKERS)]
    stopped: list[Worker] = []
    moments = random.Random(scale.round)
    await arena.until_ready(*workers)
    while await arena.goes_on(number // 20, scale.pick(40, 300)):
        victim = moments.randrange(WORKERS)
        await arena.until_ready(workers[victim])
        workers[victim].terminate()
        stopped.append(workers[victim])
        workers[victim] = await arena.start(kind, **options)
        await asyncio.sleep(INTERVAL_SECS)
    # A worker that has stopped has left nothing behind that would have to wait for the end of its lease.
    await arena.until_over(LONG_LEASE["heartbeat_interval"])
    for worker in stopped:
        await worker.ended()
    counted = await arena.tables.value("SELECT count(*) FROM {jobs} WHERE attempts > 1 OR status = 'failed'")
    if counted:
        arena.broke(f"{counted} jobs were charged with an attempt, or failed, because a worker was asked to stop")
    given_back = await arena.tables.value("SELECT (SELECT count(*) FROM {schema}.effects) - count(*) FROM {jobs}")
    arena.note(f"{given_back} were given back in the midst of their work")
    return len(stopped)


async def freeze(arena: Arena, scale: Scale, kind: str) -> int:
    """SIGSTOP of a random worker every 200 ms, for longer than its lease; gives their number.

    It comes back to life with outcomes of jobs that others have taken over meanwhile, and does not know of that. Every
    second one is told to stop at that moment, and gives back what it takes for its own.
    """
    number = scale.pick(250, 3000)
    await arena.enqueue(mixed(number, 0.1, ENOUGH))
    options = {"concurrency": CONCURRENCY, "shutdown_timeout": 0, **SHORT_LEASE}
    workers = [await arena.start(kind, **options) for _ in range(WORKERS)]
    thawing: list[asyncio.Task[None]] = []
    moments = random.Random(scale.round)
    await arena.until_ready(*workers)
    while await arena.goes_on(number // 20, scale.pick(40, 300)):
        place = moments.randrange(WORKERS)
        await arena.until_ready(workers[place])
        workers[place].freeze()
        stops = len(thawing) % 2 == 0
        thawing.append(asyncio.create_task(thaw(workers[place], stops=stops)))
        # Others do the work meanwhile; one that is not to stop at once goes on beside them for a while.
        workers[place] = await arena.start(kind, **options)
        await asyncio.sleep(INTERVAL_SECS)
    await asyncio.gather(*thawing)
    await arena.until_over()
    dropped = await arena.tables.value("SELECT count(*) FROM {executions} WHERE error LIKE '%%its worker was lost'")
    arena.note(f"{dropped} attempts were lost to the freezing")
    return len(thawing)


async def thaw(worker: Worker, *, stops: bool) -> None:
    """Let a frozen worker go on when its lease is over, and stop it, at once or when it has worked on for a while."""
    await asyncio.sleep(2 * 3 * SHORT_LEASE["heartbeat_interval"])
    if stops:
        worker.terminate()
    worker.thaw()
    if not stops:
        await asyncio.sleep(WORKING_ON_SECS)
        worker.terminate()
    # To be asked once more, on its way out, would end it with an error.
    await worker.ended()
