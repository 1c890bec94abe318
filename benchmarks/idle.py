"""Idle: what workers cost that have nothing to do.

Statements are counted by a proxy, over all connections of one worker. All its intervals are a tenth of the defaults, so
that a tenth of the time shows the same; sweeps are in the figure. The aim is two statements for each poll, and a
heartbeat for every second one.

The time of a hundred workers is what their processes and all those of the server take up of one core, over a minute, in
which each of them sweeps once. They are as they are by default, 25 in a process. For a hundred processes, each of which
had an event loop of its own, it would be a little more. This reads /proc, so it needs Linux, and a server on the same
machine.

The floor is a connection that listens, and another one that claims at each poll interval and writes a heartbeat at each
heartbeat interval.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmarks import drain, spawning, tables
from benchmarks.measuring import Apart, Case, Measured, Side, Sizes, Unit
from benchmarks.proxies import counting_proxy
from pgwerk import AsyncWorker, Werk, WerkConfig

STATEMENTS = Unit(name="per poll", more_is_better=False)
PERCENT = Unit(name="% core", more_is_better=False)

STATEMENTS_AIM = 2.5
PERCENT_AIM = 1.0
CONFIG = WerkConfig()
HASTE = 10
WORKERS = 100
PROCESSES = 4
START_SECS = 15.0
SECS = 60.0

_WORKERS_TABLE = "CREATE TABLE floor.workers (id uuid PRIMARY KEY, heartbeat_at timestamptz NOT NULL)"
_BEAT = """
    INSERT INTO floor.workers (id, heartbeat_at) VALUES (%(id)s, statement_timestamp())
    ON CONFLICT (id) DO UPDATE SET heartbeat_at = excluded.heartbeat_at
"""
_SERVER_PIDS = "SELECT array_agg(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"

Idle = Callable[[str, WerkConfig], Awaitable[None]]


def cases(sizes: Sizes) -> Iterable[Case]:  # noqa: ARG001 - there are no jobs
    """Statements, and time."""
    yield Case(
        name="statements of an idle worker",
        unit=STATEMENTS,
        sides=Apart(
            floor=Side(prepare=prepare_floor, measure=count_of_loop),
            ours=Side(prepare=tables.empty_ours, measure=count_of_worker),
        ),
        aim=STATEMENTS_AIM,
    )
    yield Case(
        name=f"{WORKERS} idle workers",
        unit=PERCENT,
        sides=Apart(
            floor=Side(prepare=prepare_floor, measure=time_of_loops),
            ours=Side(prepare=tables.empty_ours, measure=time_of_workers),
        ),
        aim=PERCENT_AIM,
    )


async def prepare_floor(dsn: str) -> None:
    """Empty tables, and one for heartbeats."""
    await tables.empty_floor(dsn)
    async with await tables.connect(dsn) as connection:
        await connection.execute(_WORKERS_TABLE)


async def count_of_loop(dsn: str) -> Measured:
    """Count the statements of the least that a worker has to do."""
    return await _count(_loop, dsn)


async def count_of_worker(dsn: str) -> Measured:
    """Count the statements of a worker."""
    return await _count(_worker, dsn)


async def time_of_loops(dsn: str) -> float:
    """Take the time of many of the least that workers have to do."""
    return await _percent(_loops, dsn)


async def time_of_workers(dsn: str) -> float:
    """Take the time of many workers."""
    return await _percent(_workers, dsn)


async def _loop(dsn: str, config: WerkConfig) -> None:
    params = {"worker_id": uuid4(), "limit": 10}
    async with await tables.connect(dsn) as listener, await tables.connect(dsn) as connection:
        await listener.execute("LISTEN floor_ready")
        next_beat = 0.0
        while True:
            if time.monotonic() >= next_beat:
                next_beat = time.monotonic() + config.heartbeat_interval
                await connection.execute(_BEAT, {"id": params["worker_id"]}, prepare=True)
            await connection.execute(drain.CLAIM, params, prepare=True)
            await asyncio.sleep(config.poll_interval)


async def _worker(dsn: str, config: WerkConfig) -> None:
    async with Werk(dsn, config=config) as app:
        await AsyncWorker(app, handle_signals=False).run()


async def _count(idle: Idle, dsn: str) -> Measured:
    """Statements in each poll interval, and which they were."""
    config = WerkConfig(
        poll_interval=CONFIG.poll_interval / HASTE,
        heartbeat_interval=CONFIG.heartbeat_interval / HASTE,
        abort_interval=CONFIG.abort_interval / HASTE,
        sweep_interval=CONFIG.sweep_interval / HASTE,
    )
    secs = 2 * config.sweep_interval
    async with counting_proxy(dsn) as (proxy, through):
        idling = asyncio.ensure_future(idle(through, config))
        await asyncio.sleep(2 * config.heartbeat_interval)
        proxy.counts.clear()
        await asyncio.sleep(secs)
        counts = proxy.counts.copy()
        if idling.done():
            await idling
        idling.cancel()
        await asyncio.wait([idling])
    polls = secs / config.poll_interval
    note = "; ".join(f"{count / polls:.2f} x {text}" for text, count in counts.most_common())
    return Measured(figure=counts.total() / polls, note=note)


def _loops(dsn: str, start: float) -> float:
    return asyncio.run(_take_time(_loop, dsn, start))


def _workers(dsn: str, start: float) -> float:
    return asyncio.run(_take_time(_worker, dsn, start))


async def _take_time(idle: Idle, dsn: str, start: float) -> float:
    """Seconds of processor time that some of the workers take up in this process."""
    idling = [asyncio.ensure_future(idle(dsn, CONFIG)) for _ in range(WORKERS // PROCESSES)]
    await asyncio.sleep(start - time.monotonic())
    before = time.process_time()
    await asyncio.sleep(SECS)
    taken = time.process_time() - before
    for task in idling:
        if task.done():
            await task
        task.cancel()
    await asyncio.wait(idling)
    return taken


async def _percent(take_time: Callable[[str, float], float], dsn: str) -> float:
    """Per cent of one core, over all processes and the server."""
    loop = asyncio.get_running_loop()
    with spawning.pool(PROCESSES) as pool:
        start = time.monotonic() + START_SECS
        clients = [loop.run_in_executor(pool, take_time, dsn, start) for _ in range(PROCESSES)]
        async with await tables.connect(dsn) as connection:
            await asyncio.sleep(start - time.monotonic())
            before = _times_of(await tables.value(connection, _SERVER_PIDS))
            await asyncio.sleep(SECS)
            after = _times_of(await tables.value(connection, _SERVER_PIDS))
        server = sum(taken - before.get(pid, 0) for pid, taken in after.items())
        return 100 * (server + sum(await asyncio.gather(*clients))) / SECS


def _times_of(pids: list[int]) -> dict[int, float]:
    """Seconds of processor time that each process has taken up since it began."""
    return {pid: taken for pid in pids if (taken := _time_of(pid)) is not None}


def _time_of(pid: int) -> float | None:
    try:
        # What comes before the last bracket is a name, in which there may be anything.
        fields: list[Any] = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except FileNotFoundError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
