"""Enqueue many: how many jobs a second one call takes in, ids and payloads made on the way."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from benchmarks import tables
from benchmarks.handlers import noop
from benchmarks.measuring import JOBS_PER_SEC, Apart, Case, Side, Sizes
from pgwerk import EnqueueParams, Werk

BATCH = 10_000
WARM_UP = 100
POOL_SIZE = 1
TARGET = 0.8

INSERT = f"""
    INSERT INTO {tables.FLOOR_JOBS} (id, function, queue, status, priority, scheduled_at, payload)
    SELECT i.id, i.function, i.queue, 'queued', 0, statement_timestamp(), i.payload
    FROM unnest(%(ids)b::uuid[], %(functions)b::text[], %(queues)b::text[], %(payloads)b::jsonb[])
        AS i (id, function, queue, payload)
"""


def cases(sizes: Sizes) -> Iterable[Case]:  # noqa: ARG001 - the size of the batch is what is measured
    """One case: a batch that still is one statement of ours."""
    yield Case(
        name=f"enqueue many ({BATCH:,})",
        unit=JOBS_PER_SEC,
        sides=Apart(
            floor=Side(prepare=tables.empty_floor, measure=insert_many),
            ours=Side(prepare=tables.empty_ours, measure=enqueue_many),
        ),
        target=TARGET,
    )


async def insert_many(dsn: str) -> float:
    """Insert the rows with one statement."""
    async with await tables.connect(dsn) as connection, connection.cursor(binary=True) as cursor:

        async def insert(count: int) -> None:
            params = {
                "ids": tables.new_ids(count),
                "functions": [tables.FUNCTION] * count,
                "queues": ["default"] * count,
                "payloads": [tables.arguments() for _ in range(count)],
            }
            await cursor.execute(INSERT, params)

        return await _rate(insert)


async def enqueue_many(dsn: str) -> float:
    """Enqueue as many specs."""
    async with Werk(dsn, pool_size=POOL_SIZE) as app:
        return await _rate(lambda count: app.enqueue_many([EnqueueParams(noop) for _ in range(count)]))


async def _rate(call: Callable[[int], Awaitable[Any]]) -> float:
    await call(WARM_UP)
    began = time.perf_counter()
    await call(BATCH)
    return BATCH / (time.perf_counter() - began)
