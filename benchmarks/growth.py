"""Growth: how fast a worker drains a fixed number of jobs, the more there is of something else.

The floor is pgwerk itself, over tables that hold only the jobs that are drained. What grows is made once for all turns,
in a schema of its own; each turn adds the jobs, on both sides. What has ended in earlier turns stays there.

Behind a blocked group, of which one job runs for as long as this takes, the first figure is the time that one job takes
at concurrency 1: that is a claim, and what a worker does beside it, so the claim alone takes less.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

from attrs import frozen

from benchmarks import drain, pace, rows, tables
from benchmarks.handlers import Countdown
from benchmarks.measuring import JOBS_PER_SEC, MILLISECONDS, Apart, Case, Point, Side, Sizes, Step
from benchmarks.rows import READY, Rows, Writer
from pgwerk import AsyncWorker, Werk

GROWN = "grown"
"""The schema of what has grown."""
CONCURRENCY = 10
TARGET = 0.8
CLAIMS = 1_000
CLAIM_AIM_MS = 5.0
TO_A_MILLION = (10_000, 100_000, 1_000_000)
TO_100_000 = (1_000, 10_000, 100_000)
TO_10_000 = (1_000, 10_000)

GROUPED = Rows(group_key="gen_random_uuid()::text")


async def nothing(writer: Writer, size: int) -> None:
    """Nothing: it is the jobs themselves that change."""


async def finished(writer: Writer, size: int) -> None:
    """Jobs that have ended, with their history."""
    await writer.add(rows.COMPLETE, size)
    await writer.add_executions()


async def ready(writer: Writer, size: int) -> None:
    """A backlog, in which the jobs that are added come last."""
    await writer.add(in_queues(5, age="interval '1 hour'"), size)


async def scheduled(writer: Writer, size: int) -> None:
    """Jobs that are due in a day or later."""
    await writer.add(rows.IN_FUTURE, size)


async def blocked(writer: Writer, size: int) -> None:
    """Jobs of one group at the head of the queue, and one that runs."""
    await writer.add_worker()
    await writer.add(rows.RUNNING_IN_GROUP, 1)
    await writer.add(rows.BLOCKED, size)


async def groups(writer: Writer, size: int) -> None:
    """Jobs that have a group each."""
    await writer.add(GROUPED, size)


async def children(writer: Writer, size: int) -> None:
    """Jobs that wait for one parent, which is due in a day."""
    await writer.add(rows.IN_FUTURE, 1)
    await writer.add(rows.WAITING, size)
    await writer.add_dependencies(parent="'scheduled'")


def in_queues(queues: int, *, age: str = READY.age) -> Rows:
    """Jobs in so many queues and three priorities."""
    return Rows(queue=f"'queue-' || mod(n, {queues})", priority=f"mod(n / {queues}, 3)", age=age)


def names_of(queues: int) -> list[str]:
    """The names of these queues."""
    return [f"queue-{number}" for number in range(queues)]


@frozen(kw_only=True)
class Growth:
    """Something that grows.

    Attributes:
        name: What it is.
        sizes: How much of it there is.
        least: How much of it there is on the other side.
        beside: What that is.
        grow: Writes it.
        jobs: The jobs that are drained, by size.
        queues: Their queues, by size.
        target: The ratio that is to be reached.
    """

    name: str
    sizes: tuple[int, ...]
    least: int = 0
    beside: str = "empty"
    grow: Callable[[Writer, int], Awaitable[None]] = nothing
    jobs: Callable[[int], Rows] = lambda _: READY
    queues: Callable[[int], list[str]] = lambda _: ["default"]
    target: float | None = TARGET


GROWTHS = {
    growth.name: growth
    for growth in (
        Growth(name="finished rows", sizes=TO_A_MILLION, grow=finished),
        Growth(
            name="ready rows",
            sizes=TO_A_MILLION,
            grow=ready,
            beside="few rows",
            jobs=lambda _: in_queues(5),
            queues=lambda _: names_of(5),
        ),
        Growth(name="rows in the future", sizes=TO_A_MILLION, grow=scheduled),
        Growth(name="of a blocked group", sizes=TO_100_000, grow=blocked, target=None),
        Growth(
            name="groups of one job",
            sizes=TO_100_000,
            grow=groups,
            beside="no groups",
            jobs=lambda size: GROUPED if size else READY,
        ),
        Growth(name="waiting children", sizes=TO_10_000, grow=children),
        Growth(name="queues", sizes=(5, 50), least=1, beside="1 queue", jobs=in_queues, queues=names_of),
    )
}


def cases(sizes: Sizes) -> Iterable[Case]:
    """One for each size of each growth."""
    for growth in GROWTHS.values():
        if growth.grow is blocked:
            yield _claim_case(growth, sizes)
        for size in sizes.up_to_largest(growth.sizes):
            jobs = sizes.jobs or drain.JOBS
            yield Case(
                name=f"drain, {size:,} {growth.name}",
                unit=JOBS_PER_SEC,
                beside=growth.beside,
                sides=_sides(drain_some),
                setup=[make_grown],
                params={
                    "growth": growth.name,
                    "size": size,
                    "jobs": jobs,
                    "concurrency": CONCURRENCY,
                },
                target=growth.target,
                point=Point(curve=growth.name, size=size),
            )


def _claim_case(growth: Growth, sizes: Sizes) -> Case:
    size = sizes.up_to_largest(growth.sizes)[-1]
    return Case(
        name=f"claim, {size:,} {growth.name}",
        unit=MILLISECONDS,
        beside=growth.beside,
        sides=_sides(claim_each),
        setup=[make_grown],
        params={"growth": growth.name, "size": size, "jobs": CLAIMS, "concurrency": 1},
        aim=CLAIM_AIM_MS,
    )


def _sides(measure: Step) -> Apart:
    return Apart(
        floor=Side(prepare=prepare_small, measure=partial(measure, is_grown=False)),
        ours=Side(prepare=prepare_grown, measure=partial(measure, is_grown=True)),
    )


async def make_grown(dsn: str, *, growth: str, size: int, **_: object) -> None:
    """Make what has grown, once for all turns."""
    await tables.drop(dsn, "floor", tables.OUR_SCHEMA)
    await rows.make_tables(dsn, GROWN)
    async with await tables.connect(dsn) as connection:
        writer = Writer(connection, GROWN)
        await GROWTHS[growth].grow(writer, size)
        await writer.tidy_up()


async def prepare_small(dsn: str, *, growth: str, jobs: int, **_: object) -> None:
    """Make tables that hold only the jobs to drain."""
    await rows.make_tables(dsn, tables.OUR_SCHEMA)
    await _add(dsn, tables.OUR_SCHEMA, GROWTHS[growth].jobs(GROWTHS[growth].least), jobs)


async def prepare_grown(dsn: str, *, growth: str, size: int, jobs: int, **_: object) -> None:
    """Add the jobs to drain to what has grown."""
    await _add(dsn, GROWN, GROWTHS[growth].jobs(size), jobs)


async def drain_some(dsn: str, *, growth: str, size: int, jobs: int, concurrency: int, is_grown: bool) -> float:
    """Run a worker until it has begun so many jobs."""
    schema = GROWN if is_grown else tables.OUR_SCHEMA
    queues = GROWTHS[growth].queues(size if is_grown else GROWTHS[growth].least)
    since = await pace.now(dsn)
    async with Werk(dsn, schema=schema) as app:
        worker = AsyncWorker(app, queues, concurrency, handle_signals=False)
        Countdown(jobs, worker.stop)
        await worker.run()
    return pace.rate(await pace.settles(dsn, f"{schema}._pgwerk_jobs", since=since))


async def claim_each(dsn: str, **params: Any) -> float:
    """Milliseconds for each job, one by one."""
    return 1000 / await drain_some(dsn, **params)


async def _add(dsn: str, schema: str, jobs: Rows, count: int) -> None:
    async with await tables.connect(dsn) as connection:
        writer = Writer(connection, schema)
        await writer.add(jobs, count)
        await writer.tidy_up()
