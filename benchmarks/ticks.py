"""Ticks: how long after its time a scheduled job starts, on an idle system.

A schedule ticks every second. The time is that from the tick to the moment at which a worker has claimed its job, by
the database's clock. The scheduler and the worker are one process, and neither polls. The floor is a loop that sleeps
until the second begins, inserts and notifies on one connection, and claims on another one, both of them kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from statistics import median
from typing import Any

import psycopg

from benchmarks import tables
from benchmarks.handlers import noop
from benchmarks.measuring import MILLISECONDS, Apart, Case, Side, Sizes
from pgwerk import AsyncWorker, CronScheduler, Werk

TICKS = 8
CHANNEL = "floor_ready"

_NOW = "SELECT clock_timestamp()"
_INSERT = f"""
    WITH inserted AS (
        INSERT INTO {tables.FLOOR_JOBS} (id, function, queue, status, priority, scheduled_at, payload)
        VALUES (gen_random_uuid(), '{tables.FUNCTION}', 'default', 'queued', 0, %s, '{{}}')
    )
    SELECT pg_notify('{CHANNEL}', '')
"""
_CLAIM = f"UPDATE {tables.FLOOR_JOBS} SET status = 'active', started_at = clock_timestamp() WHERE status = 'queued'"
_COMPLETE = f"SELECT count(*) FROM {tables.OUR_JOBS} WHERE status = 'complete'"
_LATE = "SELECT extract(epoch FROM started_at - scheduled_at)::float8 * 1000 FROM {} WHERE started_at IS NOT NULL"


def cases(sizes: Sizes) -> Iterable[Case]:  # noqa: ARG001 - a tick is a second, whatever is asked for
    """With a connection for each tick, which is the default, and with a pool."""
    for pool_size, name in ((None, "tick to start, p50"), (2, "tick to start, p50, with a pool")):
        yield Case(
            name=name,
            unit=MILLISECONDS,
            sides=Apart(
                floor=Side(prepare=tables.empty_floor, measure=sleep_and_insert),
                ours=Side(prepare=tables.empty_ours, measure=schedule),
            ),
            params={"pool_size": pool_size},
        )


async def sleep_and_insert(dsn: str, *, pool_size: int | None) -> float:  # noqa: ARG001 - ours has one
    """Insert when the second begins, and claim when that is heard of."""
    async with await tables.connect(dsn) as listener, await tables.connect(dsn) as connection:
        await listener.execute(f"LISTEN {CHANNEL}")

        async def claim() -> None:
            async for _ in listener.notifies(stop_after=TICKS):
                await claimer.execute(_CLAIM, prepare=True)

        async with await tables.connect(dsn) as claimer:
            claiming = asyncio.ensure_future(claim())
            for _ in range(TICKS):
                now = await tables.value(connection, _NOW)
                tick = now.replace(microsecond=0) + timedelta(seconds=1)
                await asyncio.sleep((tick - now).total_seconds())
                await connection.execute(_INSERT, [tick], prepare=True)
            await claiming
        return await _late(connection, tables.FLOOR_JOBS)


async def schedule(dsn: str, *, pool_size: int | None) -> float:
    """A worker that carries a scheduler."""
    async with Werk(dsn, pool_size=pool_size) as app, await tables.connect(dsn) as connection:
        scheduler = CronScheduler(app, poll_interval=1000)
        scheduler.register(noop, cron="* * * * * *", name="each second")
        worker = AsyncWorker(app, scheduler=scheduler, poll_interval=1000, handle_signals=False)
        working = asyncio.ensure_future(worker.run())
        while await tables.value(connection, _COMPLETE) < TICKS:
            await asyncio.sleep(0.2)
        worker.stop()
        await working
        return await _late(connection, tables.OUR_JOBS)


async def _late(connection: psycopg.AsyncConnection[Any], jobs: str) -> float:
    cursor = await connection.execute(_LATE.format(jobs).encode())
    return float(median([row[0] for row in await cursor.fetchall()]))
