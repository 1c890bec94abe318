"""Waiting: how soon after the end of a job whoever waits for it has the result.

Jobs are ended here by a statement that does the least of what a worker's does: it writes the result and notifies. The
time is that from sending it until the last waiter has its result in hand, so it includes the commit, on both sides.
Nobody polls. The floor is a connection that listens and another one that reads the rows, both of them kept.

With `map`, the jobs are enqueued, run by a worker in the same process, and their results read.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from statistics import median
from typing import Any

import psycopg

from benchmarks import drain, enqueue_many, tables
from benchmarks.handlers import noop
from benchmarks.measuring import JOBS_PER_SEC, MILLISECONDS, Apart, Case, Side, Sizes
from pgwerk import AsyncWorker, EnqueueParams, Werk
from pgwerk._sql import Names

ROUNDS = {1: 200, 1_000: 10}
"""How often so many jobs are waited for."""
WARM_UP = 3
POOL_SIZE = 4
NEVER_SECS = 100_000.0
MAP_CONCURRENCY = 100

CHANNEL = "floor_done"
_END = """
    WITH ended AS (
        UPDATE {jobs}
        SET status = 'complete', result = 'null', completed_at = statement_timestamp()
        WHERE id = ANY (%(ids)s::uuid[])
        RETURNING id
    ), batches AS (
        SELECT string_agg(id::text, ',') AS ids
        FROM (SELECT id, row_number() OVER () / 200 AS number FROM ended) AS numbered
        GROUP BY number
    )
    SELECT pg_notify(%(channel)s, ids) FROM batches
"""
_READ = f"SELECT id, status, result, completed_at FROM {tables.FLOOR_JOBS} WHERE id = ANY (%(ids)s::uuid[])"
_AWAITED = f"SELECT count(*) FROM {tables.OUR_JOBS} WHERE awaited AND completed_at IS NULL"


def cases(sizes: Sizes) -> Iterable[Case]:
    """One waiter with a pool and without, many at once, and `map`."""
    for waiters, pool_size, name in (
        (1, POOL_SIZE, "wait for one, p50"),
        (1, None, "wait for one, p50, no pool"),
        (1_000, POOL_SIZE, "1,000 waiters, until the last"),
        (1_000, None, "1,000 waiters, no pool"),
    ):
        yield Case(
            name=name,
            unit=MILLISECONDS,
            sides=Apart(
                floor=Side(prepare=tables.empty_floor, measure=hear_and_read),
                ours=Side(prepare=tables.empty_ours, measure=wait_for),
            ),
            params={"waiters": waiters, "pool_size": pool_size},
        )
    yield Case(
        name=f"map, concurrency {MAP_CONCURRENCY}",
        unit=JOBS_PER_SEC,
        sides=Apart(
            floor=Side(prepare=tables.empty_floor, measure=insert_drain_read),
            ours=Side(prepare=tables.empty_ours, measure=map_jobs),
        ),
        params={"jobs": sizes.jobs or drain.JOBS},
    )


async def hear_and_read(dsn: str, *, waiters: int, pool_size: int | None) -> float:  # noqa: ARG001 - ours has one
    """Listen on one connection, and read with another what was notified."""
    async with await tables.connect(dsn) as listener, await tables.connect(dsn) as connection:
        await listener.execute(f"LISTEN {CHANNEL}")

        async def hear(missing: set[str]) -> None:
            async for notification in listener.notifies():
                heard = notification.payload.split(",")
                await connection.execute(_READ, {"ids": heard}, prepare=True)
                missing.difference_update(heard)
                if not missing:
                    return

        async def turn(end: _End) -> float:
            ids = [str(each) for each in tables.new_ids(waiters)]
            params = {
                "ids": ids,
                "functions": [tables.FUNCTION] * waiters,
                "queues": ["default"] * waiters,
                "payloads": [tables.arguments() for _ in ids],
            }
            await connection.execute(enqueue_many.INSERT, params, binary=True)
            return await end.timed([asyncio.ensure_future(hear(set(ids)))], ids)

        async with _ending(dsn, tables.FLOOR_JOBS, CHANNEL) as end:
            return await _median_ms(turn, end, ROUNDS[waiters])


async def wait_for(dsn: str, *, waiters: int, pool_size: int | None) -> float:
    """One `wait_for` for each job; the listener is there, because somebody waits for a job that does not end."""
    async with Werk(dsn, pool_size=pool_size) as app, await tables.connect(dsn) as connection:
        endless = await app.enqueue(noop)
        assert endless is not None
        background = asyncio.ensure_future(app.wait_for(endless.id, poll_interval=NEVER_SECS))

        async def turn(end: _End) -> float:
            jobs = await app.enqueue_many([EnqueueParams(noop) for _ in range(waiters)])
            ids = [job.id for job in jobs if job is not None]
            waits = [asyncio.ensure_future(app.wait_for(each, poll_interval=NEVER_SECS)) for each in ids]
            while await _count(connection) <= waiters:
                await asyncio.sleep(0.001)
            return await end.timed(waits, ids)

        channel = Names(app.config.schema, app.config.prefix).done_channel
        async with _ending(dsn, tables.OUR_JOBS, channel) as end:
            result = await _median_ms(turn, end, ROUNDS[waiters])
        background.cancel()
        return result


async def insert_drain_read(dsn: str, *, jobs: int) -> float:
    """Insert the rows, claim and settle them, and read them, one after the other."""
    began = time.perf_counter()
    async with await tables.connect(dsn) as connection:
        ids = tables.new_ids(jobs)
        params = {
            "ids": ids,
            "functions": [tables.FUNCTION] * jobs,
            "queues": ["default"] * jobs,
            "payloads": [tables.arguments() for _ in ids],
        }
        await connection.execute(enqueue_many.INSERT, params, binary=True)
        await drain.drain_floor(dsn, jobs=jobs, concurrency=MAP_CONCURRENCY)
        cursor = await connection.execute(_READ, {"ids": ids}, binary=True)
        assert jobs == len(await cursor.fetchall())
    return jobs / (time.perf_counter() - began)


async def map_jobs(dsn: str, *, jobs: int) -> float:
    """Map over as many jobs, with a worker beside it that is idle when it begins."""
    async with Werk(dsn, pool_size=POOL_SIZE) as app:
        worker = AsyncWorker(app, concurrency=MAP_CONCURRENCY, handle_signals=False)
        working = asyncio.ensure_future(worker.run())
        await app.apply(noop)
        began = time.perf_counter()
        await app.map(noop, [{}] * jobs)
        rate = jobs / (time.perf_counter() - began)
        worker.stop()
        await working
        return rate


class _End:
    """Ends jobs over a connection of its own."""

    def __init__(self, connection: psycopg.AsyncConnection[Any], jobs: str, channel: str) -> None:
        self._connection = connection
        self._query = _END.format(jobs=jobs).encode()
        self._channel = channel

    async def timed(self, waits: Sequence[asyncio.Future[Any]], ids: Sequence[str]) -> float:
        """Seconds from the statement that ends the jobs until whoever waits for them has the results."""
        began = time.perf_counter()
        await self._connection.execute(self._query, {"ids": list(ids), "channel": self._channel}, prepare=True)
        await asyncio.gather(*waits)
        return time.perf_counter() - began


@contextlib.asynccontextmanager
async def _ending(dsn: str, jobs: str, channel: str) -> AsyncIterator[_End]:
    async with await tables.connect(dsn) as connection:
        yield _End(connection, jobs, channel)


async def _median_ms(turn: Callable[[_End], Awaitable[float]], end: _End, rounds: int) -> float:
    times = [await turn(end) for _ in range(WARM_UP + rounds)]
    return 1000 * median(times[WARM_UP:])


async def _count(connection: psycopg.AsyncConnection[Any]) -> int:
    row = await (await connection.execute(_AWAITED)).fetchone()
    assert row is not None
    return int(row[0])
