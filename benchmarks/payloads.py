"""Payloads: how many megabytes a second go in and through, where each job carries 100 kB.

They cannot be compressed. What limits this is bytes: JSON that is written and read, and what the server stores.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from psycopg.types.json import Jsonb

from benchmarks import drain, enqueue_many, tables
from benchmarks.handlers import swallow
from benchmarks.measuring import Apart, Case, Side, Sizes, Unit
from pgwerk import EnqueueParams, Werk

MEGABYTES_PER_SEC = Unit(name="MB/s", more_is_better=True)
PAYLOAD_BYTES = 100_000
JOBS = 1_000
CALL = 100
"""How many jobs one call enqueues."""
CONCURRENCY = 10
FUNCTION = f"{swallow.__module__}.{swallow.__qualname__}"


def cases(sizes: Sizes) -> Iterable[Case]:
    """Enqueue them, and drain them."""
    params = {"jobs": min(JOBS, sizes.jobs or JOBS)}
    yield Case(
        name="enqueue many, 100 kB each",
        unit=MEGABYTES_PER_SEC,
        sides=Apart(
            floor=Side(prepare=tables.empty_floor, measure=insert),
            ours=Side(prepare=tables.empty_ours, measure=enqueue),
        ),
        params=params,
    )
    yield Case(
        name=f"drain, 100 kB each, concurrency {CONCURRENCY}",
        unit=MEGABYTES_PER_SEC,
        sides=Apart(
            floor=Side(prepare=load_floor, measure=drain_floor),
            ours=Side(prepare=load_ours, measure=drain_ours),
        ),
        params=params,
    )


async def load_floor(dsn: str, *, jobs: int) -> None:
    """Fill the floor's queue."""
    await tables.empty_floor(dsn)
    await insert(dsn, jobs=jobs)


async def load_ours(dsn: str, *, jobs: int) -> None:
    """Fill our queue."""
    await tables.empty_ours(dsn)
    await enqueue(dsn, jobs=jobs)


async def insert(dsn: str, *, jobs: int) -> float:
    """Insert the rows, some with each statement."""
    async with await tables.connect(dsn) as connection, connection.cursor(binary=True) as cursor:

        async def insert_some(texts: list[str]) -> None:
            params = {
                "ids": tables.new_ids(len(texts)),
                "functions": [FUNCTION for _ in texts],
                "queues": ["default" for _ in texts],
                "payloads": [Jsonb({"args": [text], "kwargs": {}}) for text in texts],
            }
            await cursor.execute(enqueue_many.INSERT, params)

        return await _rate(jobs, insert_some)


async def enqueue(dsn: str, *, jobs: int) -> float:
    """Enqueue the jobs, some with each call."""
    async with Werk(dsn, pool_size=1) as app:
        await app.connect()
        return await _rate(jobs, lambda texts: app.enqueue_many([EnqueueParams(swallow, (text,)) for text in texts]))


async def drain_floor(dsn: str, *, jobs: int) -> float:
    """Claim and settle them."""
    return _megabytes(await drain.drain_floor(dsn, jobs=jobs, concurrency=CONCURRENCY))


async def drain_ours(dsn: str, *, jobs: int) -> float:
    """Run a worker until nothing is left."""
    return _megabytes(await drain.drain_ours(dsn, jobs=jobs, concurrency=CONCURRENCY))


async def _rate(jobs: int, call: Callable[[list[str]], Awaitable[Any]]) -> float:
    batches = [[_text() for _ in range(CALL)] for _ in range(0, jobs, CALL)]
    began = time.perf_counter()
    for batch in batches:
        await call(batch)
    return _megabytes(len(batches) * CALL / (time.perf_counter() - began))


def _text() -> str:
    return base64.b64encode(os.urandom(PAYLOAD_BYTES * 3 // 4)).decode()


def _megabytes(jobs_per_sec: float) -> float:
    return jobs_per_sec * PAYLOAD_BYTES / 1_000_000
