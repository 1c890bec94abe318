"""Notify: what the notifications cost where many enqueue at once, each job in a commit of its own.

A commit that notifies takes a lock that there is one of in a database cluster, and waits for the disk while it holds
it; without, commits that come at the same time share one write.

Both sides are the same clients, which send the same statements over as many connections, a few processes with many
connections each. On the side of the floor, another `pg_notify`, which does nothing, comes first in the search path. So
what decides whether to notify, if anything does, counts on both sides; the ratio to the bare insert, over the same
connections, is measured as well. The worker, where there is one, is busy with a backlog from before the first job to
after the last.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, TypeAlias

from psycopg.conninfo import make_conninfo

from benchmarks import enqueue_one, rows, spawning, tables
from benchmarks.handlers import noop
from benchmarks.measuring import Apart, Case, Side, Sizes, Unit
from benchmarks.processes import workers
from benchmarks.rows import Writer
from pgwerk import Werk
from pgwerk._sql import Names

ENQUEUES_PER_SEC = Unit(name="calls/s", more_is_better=True)
ENQUEUERS = 64
PROCESSES = 2
START_SECS = 3.0
"""How long the processes are given to start and to connect."""
WARM_UP_SECS = 1.5
SECS = 4.0
BACKLOG = 100_000
TARGET = 0.9

_MUTE = """
    CREATE SCHEMA IF NOT EXISTS mute;
    CREATE OR REPLACE FUNCTION mute.pg_notify(text, text) RETURNS void LANGUAGE sql AS ''
"""
_IS_BUSY = f"SELECT EXISTS (SELECT FROM {tables.OUR_JOBS} WHERE status = 'complete' LIMIT 1)"
_IS_READY = f"SELECT EXISTS (SELECT FROM {tables.OUR_JOBS} WHERE status = 'queued')"

Call: TypeAlias = Callable[[], Awaitable[Any]]


def cases(sizes: Sizes) -> Iterable[Case]:
    """Without a worker and beside a busy one; and beside the bare insert."""
    for workers_there, name in ((0, "no worker"), (1, "a busy worker")):
        yield Case(
            name=f"{ENQUEUERS} enqueuers, {name}",
            unit=ENQUEUES_PER_SEC,
            beside="no notify",
            sides=Apart(
                floor=Side(prepare=prepare, measure=enqueue_muted),
                ours=Side(prepare=prepare, measure=enqueue),
            ),
            params={"workers_there": workers_there, "backlog": min(BACKLOG, sizes.largest)},
            target=TARGET,
        )
    yield Case(
        name=f"{ENQUEUERS} enqueuers, no worker",
        unit=ENQUEUES_PER_SEC,
        sides=Apart(
            floor=Side(prepare=tables.empty_floor, measure=insert),
            ours=Side(prepare=prepare, measure=enqueue),
        ),
        params={"workers_there": 0, "backlog": 0},
    )


async def prepare(dsn: str, *, workers_there: int, backlog: int) -> None:
    """Empty tables, or a backlog that keeps the worker busy."""
    await rows.make_tables(dsn, tables.OUR_SCHEMA)
    async with await tables.connect(dsn) as connection:
        await connection.execute(_MUTE)
        if workers_there:
            writer = Writer(connection, tables.OUR_SCHEMA)
            await writer.add(rows.READY, backlog, function=noop)
            await writer.tidy_up()


async def enqueue(dsn: str, *, workers_there: int, **_: object) -> float:
    """Enqueue as people do."""
    async with _workers(dsn, workers_there):
        return await _rate(_enqueue_some, dsn)


async def enqueue_muted(dsn: str, *, workers_there: int, **_: object) -> float:
    """The same, but nothing is notified."""
    muted = make_conninfo(dsn, options="-c search_path=mute,pg_catalog,public")
    await _make_sure_it_is_mute(dsn, muted)
    async with _workers(dsn, workers_there):
        return await _rate(_enqueue_some, muted)


async def insert(dsn: str, **_: object) -> float:
    """Insert by bare SQL."""
    return await _rate(_insert_some, dsn)


async def _make_sure_it_is_mute(dsn: str, muted: str) -> None:
    async with Werk(dsn) as app, await tables.connect(dsn) as listener:
        await listener.execute(f"LISTEN {Names(app.config.schema, app.config.prefix).ready_channel}".encode())
        async with Werk(muted) as muted_app:
            await muted_app.enqueue(noop)
        async for notification in listener.notifies(timeout=0.5):
            raise RuntimeError(f"{notification} came from the side that is not to notify")


@contextlib.asynccontextmanager
async def _workers(dsn: str, count: int) -> AsyncIterator[None]:
    """Workers that are busy, from the beginning to the end."""
    if not count:
        yield
        return
    async with workers(dsn, count), await tables.connect(dsn) as connection:
        while not await tables.value(connection, _IS_BUSY):
            await asyncio.sleep(0.1)
        yield
        if not await tables.value(connection, _IS_READY):
            raise RuntimeError("the worker had nothing left to do: the backlog is too small")


async def _rate(enqueue_some: Callable[[str, float], int], dsn: str) -> float:
    """Calls a second, over all processes."""
    loop = asyncio.get_running_loop()
    with spawning.pool(PROCESSES) as pool:
        start = time.monotonic() + START_SECS
        counts = [loop.run_in_executor(pool, enqueue_some, dsn, start) for _ in range(PROCESSES)]
        return sum(await asyncio.gather(*counts)) / SECS


def _enqueue_some(dsn: str, start: float) -> int:
    return asyncio.run(_enqueue_until_over(dsn, start))


def _insert_some(dsn: str, start: float) -> int:
    return asyncio.run(_insert_until_over(dsn, start))


async def _enqueue_until_over(dsn: str, start: float) -> int:
    connections = ENQUEUERS // PROCESSES
    async with Werk(dsn, pool_size=connections) as app:
        return await _count([lambda: app.enqueue(noop)] * connections, start)


async def _insert_until_over(dsn: str, start: float) -> int:
    async with contextlib.AsyncExitStack() as stack:
        calls = [await _inserter(stack, dsn) for _ in range(ENQUEUERS // PROCESSES)]
        return await _count(calls, start)


async def _inserter(stack: contextlib.AsyncExitStack, dsn: str) -> Call:
    connection = await stack.enter_async_context(await tables.connect(dsn))
    cursor = connection.cursor(binary=True)

    async def insert_one() -> None:
        (identifier,) = tables.new_ids(1)
        params = {"id": identifier, "function": tables.FUNCTION, "payload": tables.arguments()}
        await cursor.execute(enqueue_one.INSERT, params, prepare=True)

    return insert_one


async def _count(calls: list[Call], start: float) -> int:
    """How many calls end while this is measured, if each of them is made again and again."""
    begin = start + WARM_UP_SECS
    end = begin + SECS

    async def repeat(call: Call) -> int:
        counted = 0
        while (now := time.monotonic()) < end:
            counted += now >= begin
            await call()
        return counted

    return sum(await asyncio.gather(*map(repeat, calls)))
