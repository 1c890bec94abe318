"""Latency: how soon a job starts on a worker that is idle.

The time is that from the return of the call that enqueues, which is after its commit, to the first line of the handler.
The caller has a process of its own, as it mostly has, and keeps its connection; both read the clock that all processes
of a machine share. Between two jobs there are pauses at random, so that each finds the worker at rest. The worker is as
it is by default. The floor is a connection that listens and another one that claims, both of them kept, in one process,
and a caller that inserts and notifies with one statement.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from statistics import quantiles
from typing import Any
from uuid import uuid4

from psycopg.types.json import Jsonb

from benchmarks import drain, spawning, tables
from benchmarks.handlers import stamped, started
from benchmarks.measuring import MILLISECONDS, Apart, Case, Side, Sizes
from pgwerk import AsyncWorker, Werk

JOBS = 400
WARM_UP = 20
PAUSE_SECS = (0.02, 0.06)
AIMS_MS = {50: 1.2, 99: 4.0}
LAST = -1
"""The number that ends the floor's loop."""
CHANNEL = "floor_ready"

_INSERT = f"""
    WITH inserted AS (
        INSERT INTO {tables.FLOOR_JOBS} (id, function, queue, status, priority, scheduled_at, payload)
        VALUES (%(id)s, %(function)s, 'default', 'queued', 0, statement_timestamp(), %(payload)s)
    )
    SELECT pg_notify('{CHANNEL}', 'default')
"""


def cases(sizes: Sizes) -> Iterable[Case]:  # noqa: ARG001 - pauses take most of the time, however few jobs there are
    """The median, and what one in a hundred takes."""
    for percent, aim in AIMS_MS.items():
        yield Case(
            name=f"commit to start on an idle worker, p{percent}",
            unit=MILLISECONDS,
            sides=Apart(
                floor=Side(prepare=tables.empty_floor, measure=hear_and_claim),
                ours=Side(prepare=tables.empty_ours, measure=work),
            ),
            params={"percent": percent},
            aim=aim,
        )


async def hear_and_claim(dsn: str, *, percent: int) -> float:
    """Listen on one connection, claim and settle on another."""
    worker_id = uuid4()
    async with (
        await tables.connect(dsn) as listener,
        await tables.connect(dsn) as connection,
        connection.cursor(binary=True) as cursor,
    ):
        await connection.execute(tables.PLANNER)
        await listener.execute(f"LISTEN {CHANNEL}".encode())
        returned = asyncio.ensure_future(_in_other_process(_insert_all, dsn))
        async for _ in listener.notifies():
            await cursor.execute(drain.CLAIM, {"worker_id": worker_id, "limit": 10}, prepare=True)
            claimed: list[Any] = await cursor.fetchall()
            numbers = [payload["args"][0] for _, _, payload, _ in claimed]
            for number in numbers:
                await stamped(number)
            ids = [row[0] for row in claimed]
            params = {"ids": ids, "results": ["null" for _ in ids], "worker_id": worker_id}
            await cursor.execute(drain.SETTLE, params, prepare=True)
            if LAST in numbers:
                break
        return _percentile_ms(await returned, percent)


async def work(dsn: str, *, percent: int) -> float:
    """Run a worker, as it is by default."""
    async with Werk(dsn) as app:
        worker = AsyncWorker(app, handle_signals=False)
        working = asyncio.ensure_future(worker.run())
        returned = await _in_other_process(_enqueue_all, dsn)
        while LAST not in started:
            await asyncio.sleep(0.01)
        worker.stop()
        await working
        return _percentile_ms(returned, percent)


async def _in_other_process(enqueue_all: Callable[[str], dict[int, float]], dsn: str) -> dict[int, float]:
    with spawning.pool() as process:
        return await asyncio.get_running_loop().run_in_executor(process, enqueue_all, dsn)


def _insert_all(dsn: str) -> dict[int, float]:
    return asyncio.run(_insert(dsn))


def _enqueue_all(dsn: str) -> dict[int, float]:
    return asyncio.run(_enqueue(dsn))


async def _insert(dsn: str) -> dict[int, float]:
    async with await tables.connect(dsn) as connection, connection.cursor(binary=True) as cursor:

        async def insert(number: int) -> None:
            (identifier,) = tables.new_ids(1)
            payload = Jsonb({"args": [number], "kwargs": {}})
            params = {"id": identifier, "function": tables.FUNCTION, "payload": payload}
            await cursor.execute(_INSERT, params, prepare=True)

        return await _call_with_pauses(insert)


async def _enqueue(dsn: str) -> dict[int, float]:
    async with Werk(dsn, pool_size=1) as app:
        return await _call_with_pauses(lambda number: app.enqueue(stamped, number))


async def _call_with_pauses(call: Callable[[int], Any]) -> dict[int, float]:
    """When each call has returned, by its number."""
    returned = {}
    for number in [*range(WARM_UP + JOBS), LAST]:
        await asyncio.sleep(random.uniform(*PAUSE_SECS))
        await call(number)
        returned[number] = time.monotonic()
    return returned


def _percentile_ms(returned: dict[int, float], percent: int) -> float:
    late = [started[number] - returned[number] for number in range(WARM_UP, WARM_UP + JOBS)]
    return 1000 * quantiles(late, n=100)[percent - 1]
