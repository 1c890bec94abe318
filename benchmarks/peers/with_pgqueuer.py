"""PgQueuer, with the driver of its quick start and the event loop of its command line; `batch_size` is the concurrency.

Its tasks are not limited otherwise, which is its default. Jobs that have ended are deleted, and logged; it keeps no
results.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.domain.types import QueueExecutionMode
from pgqueuer.queries import Queries

from benchmarks.peers import common

ENTRYPOINT = "noop"


class PgQueuerCaller:
    """Enqueues over one connection."""

    def __init__(self, queries: Any) -> None:
        self._queries = queries
        self._number = 0

    async def one(self, number: int) -> None:
        await self._queries.enqueue(ENTRYPOINT, str(number).encode())

    async def many(self, jobs: int) -> None:
        payloads = [str(number).encode() for number in range(jobs)]
        await self._queries.enqueue([ENTRYPOINT] * jobs, payloads, [0] * jobs)


class PgQueuerPeer:
    """A worker over one connection, as in the quick start."""

    name = "with_pgqueuer"

    def __init__(self) -> None:
        self._worker: Any = None

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(main)

    async def install(self) -> None:
        connection = await asyncpg.connect()
        await Queries(AsyncpgDriver(connection)).install()
        await connection.close()

    async def analyze(self) -> None:
        connection = await asyncpg.connect()
        await connection.execute("ANALYZE")
        await connection.close()

    @contextlib.asynccontextmanager
    async def calling(self) -> AsyncIterator[PgQueuerCaller]:
        connection = await asyncpg.connect()
        yield PgQueuerCaller(Queries(AsyncpgDriver(connection)))
        await connection.close()

    async def drain(self, concurrency: int) -> None:
        await self._connect()
        await self._worker.run(batch_size=concurrency, mode=QueueExecutionMode.drain)

    async def work(self) -> None:
        await self._connect()
        await self._worker.run()

    def stop(self) -> None:
        self._worker.shutdown.set()

    async def _connect(self) -> None:
        self._worker = PgQueuer.from_asyncpg_connection(await asyncpg.connect())

        async def noop(job: Any) -> None:
            common.began(int(job.payload))

        self._worker.entrypoint(ENTRYPOINT)(noop)


PEER = PgQueuerPeer()
