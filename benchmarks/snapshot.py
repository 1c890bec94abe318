"""An old snapshot: how fast a worker is after many jobs, while another session holds a snapshot from before them.

That is what a long report or a dump does. Nothing that has died since can be removed, neither rows nor index entries,
so whatever walks over the dead gets slower with each job. The floor is the same drain without such a session; compared
is the rate over the last part of both, when the dead are the most. The jobs are there before the snapshot is taken.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable

from benchmarks import drain, pace, tables
from benchmarks.measuring import JOBS_PER_SEC, Apart, Case, Measured, Side, Sizes
from pgwerk import AsyncWorker, Werk

JOBS = 50_000
CONCURRENCY = 10
PART = 10_000
FEWEST_PARTS = 5
TARGET = 0.9

_TAKE = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class"


def cases(sizes: Sizes) -> Iterable[Case]:
    """One case, with the rate over time as its trace."""
    yield Case(
        name="drain under an old snapshot, last part",
        unit=JOBS_PER_SEC,
        beside="without",
        sides=Apart(
            floor=Side(prepare=drain.load_ours, measure=drain_freely),
            ours=Side(prepare=drain.load_ours, measure=drain_under_snapshot),
        ),
        params={"jobs": sizes.jobs or JOBS},
        target=TARGET,
    )


async def drain_freely(dsn: str, *, jobs: int) -> Measured:
    """Drain the queue."""
    return await _drain(dsn, jobs, contextlib.nullcontext())


async def drain_under_snapshot(dsn: str, *, jobs: int) -> Measured:
    """Drain the queue while another session looks at what was before."""
    return await _drain(dsn, jobs, _old_snapshot(dsn))


async def _drain(dsn: str, jobs: int, beside: contextlib.AbstractAsyncContextManager[None]) -> Measured:
    async with beside, Werk(dsn) as app:
        await AsyncWorker(app, concurrency=CONCURRENCY, burst=True).run()
    trace = pace.rates(await pace.settles(dsn), min(PART, jobs // FEWEST_PARTS))
    return Measured(figure=trace[-1][1], trace=trace)


@contextlib.asynccontextmanager
async def _old_snapshot(dsn: str) -> AsyncIterator[None]:
    async with await tables.connect(dsn) as connection:
        await connection.execute(_TAKE)
        yield
        await connection.execute("ROLLBACK")
