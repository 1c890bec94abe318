"""What the scripts of all peers have in common: the work, and how it is timed.

They run in environments without pgwerk, so this imports the standard library only. The server is named by environment
variables (PGHOST and so on), which every driver reads. What was measured is printed, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from statistics import median, quantiles
from typing import Any, Protocol

BATCH = 10_000
LATENCIES = 400
CALLS = 500
WARM_UP = 50
PAUSE_SECS = (0.02, 0.06)
LAST = -1
RUN = ("-m", "benchmarks.peers.run")
"""What an interpreter runs; the name of the peer's module and that of the work come after it."""


class Caller(Protocol):
    """What enqueues, over connections that are kept."""

    async def one(self, number: int) -> None:
        """Enqueue a job with this number as its argument."""

    async def many(self, jobs: int) -> None:
        """Enqueue so many with one call."""


class Peer(Protocol):
    """A queue.

    Attributes:
        name: The name of its module.
    """

    name: str

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the event loop that it documents."""

    async def install(self) -> None:
        """Make its tables."""

    async def analyze(self) -> None:
        """Have the server look at what is in them, as autovacuum would a minute later."""

    def calling(self) -> AbstractAsyncContextManager[Caller]:
        """Whatever enqueues."""

    async def drain(self, concurrency: int) -> None:
        """Run a worker until nothing is left."""

    async def work(self) -> None:
        """Run a worker as it is by default, until cancelled or stopped."""

    def stop(self) -> None:
        """Stop the worker; it may also be cancelled."""


class Began:
    """When jobs began, by the clock that all processes of a machine share: the handlers call it."""

    def __init__(self) -> None:
        self.times: dict[int, float] = {}

    def __call__(self, number: int) -> None:
        self.times[number] = time.monotonic()


began = Began()


async def drain(peer: Peer, *, jobs: int, concurrency: int) -> float:
    """Jobs a second, from the first to the last one that begins."""
    await peer.install()
    async with peer.calling() as caller:
        await caller.many(jobs)
    await peer.analyze()
    await peer.drain(concurrency)
    if len(began.times) != jobs:
        raise RuntimeError(f"{len(began.times)} of {jobs} jobs have run")
    return (jobs - 1) / (max(began.times.values()) - min(began.times.values()))


async def enqueue_one(peer: Peer) -> float:
    """Milliseconds of a call, in the median."""
    await peer.install()
    times = []
    async with peer.calling() as caller:
        for number in range(WARM_UP + CALLS):
            start = time.perf_counter()
            await caller.one(number)
            times.append(time.perf_counter() - start)
    return 1000 * median(times[WARM_UP:])


async def enqueue_many(peer: Peer) -> float:
    """Jobs a second, with one call."""
    await peer.install()
    async with peer.calling() as caller:
        await caller.many(WARM_UP)
        start = time.perf_counter()
        await caller.many(BATCH)
        return BATCH / (time.perf_counter() - start)


async def latency(peer: Peer, *, percent: int) -> float:
    """Milliseconds from the return of a call in another process to the start of its job."""
    await peer.install()
    working = asyncio.ensure_future(peer.work())
    await asyncio.sleep(1)
    command = [sys.executable, *RUN, peer.name, call.__name__]
    caller = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    printed, _ = await caller.communicate()
    returned = json.loads(printed)
    while LAST not in began.times:
        await asyncio.sleep(0.01)
    peer.stop()
    working.cancel()
    await asyncio.wait([working])
    late = [began.times[int(number)] - at for number, at in returned.items() if int(number) >= WARM_UP]
    return 1000 * float(quantiles(late, n=100)[percent - 1])


async def call(peer: Peer) -> dict[int, float]:
    """When each call has returned, by its number; between two of them there are pauses."""
    returned = {}
    async with peer.calling() as caller:
        for number in [*range(WARM_UP + LATENCIES), LAST]:
            await asyncio.sleep(random.uniform(*PAUSE_SECS))
            await caller.one(number)
            returned[number] = time.monotonic()
    return returned


WORKS: dict[str, Callable[..., Coroutine[Any, Any, Any]]] = {
    work.__name__: work for work in (drain, enqueue_one, enqueue_many, latency, call)
}
