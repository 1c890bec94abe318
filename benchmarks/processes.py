"""Processes: what several worker processes move together, compared to one of them.

All of them are there and idle when the jobs come, which is in one statement that notifies nobody: each worker finds
them when it polls, which it does ten times a second here. On two cores one worker and its server keep both busy, so
several cannot be faster; they must not be much slower either.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterable
from multiprocessing.process import BaseProcess

from benchmarks import drain, pace, rows, spawning, tables
from benchmarks.handlers import noop
from benchmarks.measuring import JOBS_PER_SEC, Apart, Case, Side, Sizes
from benchmarks.rows import Writer
from pgwerk import AsyncWorker, Werk

PROCESSES = 8
TARGET = 0.8
POLL_SECS = 0.1
PATIENCE_SECS = 0.2

_WORKERS = "SELECT count(*) FROM pgwerk._pgwerk_workers"
_LEFT = f"SELECT count(*) FROM {tables.OUR_JOBS} WHERE completed_at IS NULL"


def cases(sizes: Sizes) -> Iterable[Case]:
    """One case, of workers as they are by default."""
    yield Case(
        name=f"drain by {PROCESSES} worker processes",
        unit=JOBS_PER_SEC,
        beside="1 process",
        sides=Apart(
            floor=Side(prepare=tables.empty_ours, measure=drain_by_one),
            ours=Side(prepare=tables.empty_ours, measure=drain_by_several),
        ),
        params={"jobs": sizes.jobs or drain.JOBS},
        target=TARGET,
    )


async def drain_by_one(dsn: str, *, jobs: int) -> float:
    """Drain the queue with one worker process."""
    return await _drain(dsn, jobs, 1)


async def drain_by_several(dsn: str, *, jobs: int) -> float:
    """Drain the queue with several."""
    return await _drain(dsn, jobs, PROCESSES)


async def _drain(dsn: str, jobs: int, processes: int) -> float:
    async with workers(dsn, processes), await tables.connect(dsn) as connection:
        await Writer(connection, tables.OUR_SCHEMA).add(rows.READY, jobs, function=noop)
        while await tables.value(connection, _LEFT):
            await asyncio.sleep(PATIENCE_SECS)
    return pace.rate(await pace.settles(dsn))


@contextlib.asynccontextmanager
async def workers(dsn: str, processes: int, poll_interval: float = POLL_SECS) -> AsyncIterator[None]:
    """So many worker processes, ready for work."""
    process_of = spawning.CONTEXT.Process
    started: list[BaseProcess] = [process_of(target=_work, args=(dsn, poll_interval)) for _ in range(processes)]
    for process in started:
        process.start()
    try:
        async with await tables.connect(dsn) as connection:
            while await tables.value(connection, _WORKERS) < processes:
                await asyncio.sleep(PATIENCE_SECS)
        yield
    finally:
        for process in started:
            if process.pid is not None and process.is_alive():
                process.terminate()
        for process in started:
            process.join()
            if process.exitcode not in (0, -signal.SIGTERM):
                raise RuntimeError(f"a worker process has ended with exit code {process.exitcode}")


def _work(dsn: str, poll_interval: float) -> None:
    spawning.end_with_parent()
    asyncio.run(_run_worker(dsn, poll_interval))


async def _run_worker(dsn: str, poll_interval: float) -> None:
    async with Werk(dsn) as app:
        await AsyncWorker(app, poll_interval=poll_interval).run()
