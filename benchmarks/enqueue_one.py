"""Enqueue one: how long one call takes, over a connection that is already there.

Once as a server is by default, whose commit waits for the disk, and once without that wait: what the disk takes is the
same on both sides, and the slower it is, the less the rest shows.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from statistics import median
from typing import Any

from psycopg.conninfo import make_conninfo

from benchmarks import tables
from benchmarks.handlers import noop
from benchmarks.measuring import MILLISECONDS, Case, InTurns, Sizes
from pgwerk import Werk

TURNS = 20
CALLS = 100
"""In each turn of each side; the first ones, which find everything cold, are not counted."""
PEER_TURNS = 5
"""Of ours, where a peer has turns of its own."""
WARM_UP = 20
POOL_SIZE = 4
TARGET = 1.3

INSERT = f"""
    INSERT INTO {tables.FLOOR_JOBS} (id, function, queue, status, priority, scheduled_at, payload)
    VALUES (%(id)b, %(function)b, 'default', 'queued', 0, statement_timestamp(), %(payload)b)
"""


def cases(sizes: Sizes) -> Iterable[Case]:  # noqa: ARG001 - each call is one of many anyway
    """The median over many calls, one after the other."""
    for name, synchronous_commit in (("enqueue one, p50", "on"), ("enqueue one, no wait for the disk", "off")):
        yield Case(
            name=name,
            unit=MILLISECONDS,
            sides=InTurns(prepare=[tables.empty_floor, tables.add_ours], measure=insert_and_enqueue),
            params={"synchronous_commit": synchronous_commit},
            target=TARGET,
        )


async def insert_and_enqueue(dsn: str, *, synchronous_commit: str) -> list[tuple[float, float]]:
    """Insert rows over a connection that is kept, and enqueue through the client's own pool."""
    dsn = make_conninfo(dsn, options=f"-c synchronous_commit={synchronous_commit}")
    async with (
        Werk(dsn, pool_size=POOL_SIZE) as app,
        await tables.connect(dsn) as connection,
        connection.cursor(binary=True) as cursor,
    ):

        async def insert() -> None:
            (identifier,) = tables.new_ids(1)
            params = {"id": identifier, "function": tables.FUNCTION, "payload": tables.arguments()}
            await cursor.execute(INSERT, params, prepare=True)

        async def enqueue() -> None:
            await app.enqueue(noop)

        return [(await _p50_ms(insert), await _p50_ms(enqueue)) for _ in range(TURNS)]


async def enqueue_p50(dsn: str) -> float:
    """Enqueue through the client's own pool, one after the other."""
    async with Werk(dsn, pool_size=POOL_SIZE) as app:
        return median([await _p50_ms(lambda: app.enqueue(noop)) for _ in range(PEER_TURNS)])


async def _p50_ms(call: Callable[[], Awaitable[Any]]) -> float:
    times = []
    for _ in range(WARM_UP + CALLS):
        began = time.perf_counter()
        await call()
        times.append(time.perf_counter() - began)
    return 1000 * median(times[WARM_UP:])
