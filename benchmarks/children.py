"""Children: how fast jobs are that wait for one parent, from its end until the last of them has run.

The floor is a drain of as many jobs that wait for nothing. What is added is what releases them, once their parent,
which is the first job that runs, has ended.
"""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks import drain, pace, rows, tables
from benchmarks.growth import CONCURRENCY
from benchmarks.handlers import noop
from benchmarks.measuring import JOBS_PER_SEC, Apart, Case, Side, Sizes
from benchmarks.rows import Writer
from pgwerk import AsyncWorker, Werk

CHILDREN = 10_000


def cases(sizes: Sizes) -> Iterable[Case]:
    """One case: ten thousand children."""
    children = min(CHILDREN, sizes.largest)
    yield Case(
        name=f"release and run {children:,} children",
        unit=JOBS_PER_SEC,
        beside="no parent",
        sides=Apart(
            floor=Side(prepare=prepare_plain, measure=run_all),
            ours=Side(prepare=prepare_children, measure=run_all),
        ),
        params={"children": children},
    )


async def prepare_plain(dsn: str, *, children: int) -> None:
    """As many jobs that wait for nothing, and one more."""
    await rows.make_tables(dsn, tables.OUR_SCHEMA)
    async with await tables.connect(dsn) as connection:
        writer = Writer(connection, tables.OUR_SCHEMA)
        await writer.add(rows.READY, 1 + children, function=noop)
        await writer.tidy_up()


async def prepare_children(dsn: str, *, children: int) -> None:
    """A parent that is ready, and its children."""
    await rows.make_tables(dsn, tables.OUR_SCHEMA)
    async with await tables.connect(dsn) as connection:
        writer = Writer(connection, tables.OUR_SCHEMA)
        await writer.add(rows.READY, 1, function=noop)
        await writer.add(rows.WAITING, children, function=noop)
        await writer.add_dependencies(parent="'queued'")
        await writer.tidy_up()


async def run_all(dsn: str, *, children: int) -> float:
    """Jobs a second, from the end of the first one to that of the last."""
    async with Werk(dsn) as app:
        await AsyncWorker(app, concurrency=CONCURRENCY, burst=True).run()
    await drain.check(dsn, 1 + children)
    return pace.rate(await pace.settles(dsn), beginning=0)
