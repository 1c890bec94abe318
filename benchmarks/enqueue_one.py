"""Enqueue one: how long one call takes, over a connection that is already there."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from statistics import median
from typing import Any

from benchmarks import tables
from benchmarks.handlers import noop
from benchmarks.measuring import MILLISECONDS, Case, Side
from pgwerk import Werk

CALLS = 2_000
WARM_UP = 50
POOL_SIZE = 4

INSERT = f"""
    INSERT INTO {tables.FLOOR_JOBS} (id, function, queue, status, priority, scheduled_at, payload)
    VALUES (%(id)b, %(function)b, 'default', 'queued', 0, statement_timestamp(), %(payload)b)
"""


def cases(jobs: int) -> Iterable[Case]:  # noqa: ARG001 - each call is one of many anyway
    """One case: the median over many calls, one after the other."""
    yield Case(
        name="enqueue one, p50",
        unit=MILLISECONDS,
        floor=Side(prepare=tables.empty_floor, measure=insert_one),
        ours=Side(prepare=tables.empty_ours, measure=enqueue_one),
    )


async def insert_one(dsn: str) -> float:
    """Insert a row over a connection that is kept, with a prepared statement."""
    async with await tables.connect(dsn) as connection, connection.cursor(binary=True) as cursor:

        async def insert() -> None:
            (identifier,) = tables.new_ids(1)
            params = {"id": identifier, "function": tables.FUNCTION, "payload": tables.arguments()}
            await cursor.execute(INSERT, params, prepare=True)

        return await _p50_ms(insert)


async def enqueue_one(dsn: str) -> float:
    """Enqueue through the client's own pool."""
    async with Werk(dsn, pool_size=POOL_SIZE) as app:
        return await _p50_ms(lambda: app.enqueue(noop))


async def _p50_ms(call: Callable[[], Awaitable[Any]]) -> float:
    times = []
    for _ in range(WARM_UP + CALLS):
        began = time.perf_counter()
        await call()
        times.append(time.perf_counter() - began)
    return 1000 * median(times[WARM_UP:])
