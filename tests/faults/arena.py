"""The place where a scenario happens: tables of its own, worker processes, and the judgement in the end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

from attrs import frozen
from psycopg import conninfo
from tests.faults import handlers
from tests.faults.judging import SETUP, Report, judge
from tests.faults.workers import KINDS, Nursery, Worker, descendants
from tests.worker.conftest import Tables

from pgwerk import EnqueueParams, Werk

READY_SECS = 20.0
END_SECS = 40.0
VANISH_SECS = 10.0


@frozen
class Scale:
    """How much of a scenario is run.

    Attributes:
        full: All of it, or just what shows that it works.
        round: Which round this is, from 0 on: where not everything is done each time, another part is.
        kinds: The kinds of workers.
    """

    full: bool = False
    round: int = 0
    kinds: Sequence[str] = KINDS

    def pick(self, short: int, full: int) -> int:
        """One of two figures."""
        return full if self.full else short

    def kind(self, number: int = 0) -> str:
        """The kind of one of several workers; another one in each round."""
        return self.kinds[(self.round + number) % len(self.kinds)]


class Arena:
    """The place where one scenario happens.

    Args:
        scenario: The scenario's name.
        dsn: The database, on the direct way.
        folder: Where to write files.
        through: The way that clients and workers take by default, when it is not the direct one.

    Attributes:
        schema: The schema of all tables.
        way: The way that clients, workers and handlers take.
        tables: The tables, on the direct way.
        app: A client.
        accepted: The ids of all jobs whose enqueue has returned.
    """

    def __init__(self, scenario: str, dsn: str, folder: Path, *, through: str | None = None) -> None:
        self.scenario = scenario
        self.schema = f"faults_{secrets.token_hex(4)}"
        self.dsn = dsn
        self.way = through or dsn
        self.tables = Tables(dsn, self.schema)
        self.app = Werk(self.way, schema=self.schema, pool_size=4)
        self.accepted: list[str] = []
        self._folder = folder
        self._stack = contextlib.AsyncExitStack()
        self._nurseries: dict[float, Nursery] = {}
        self._starting = asyncio.Lock()
        self._workers: list[Worker] = []
        self._numbers = itertools.count(1)
        self._began = time.monotonic()
        self._broken: list[str] = []
        self._notes: list[str] = []

    async def __aenter__(self) -> Self:
        async with Werk(self.dsn, schema=self.schema):
            for statement in SETUP:
                await self.tables.rows(statement)
        await self._stack.enter_async_context(self.app)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
        await self.tables.forget()

    def broke(self, promise: str) -> None:
        """A promise was broken."""
        self._broken.append(promise)

    def note(self, what: str) -> None:
        """Something was measured."""
        self._notes.append(what)

    # Jobs

    async def enqueue(self, specs: Sequence[EnqueueParams]) -> None:
        """Enqueue jobs, all at once."""
        jobs = await self.app.enqueue_many(list(specs))
        self.accepted += [job.id for job in jobs if job is not None]

    async def left(self) -> int:
        """How many jobs have not ended."""
        left: int = await self.tables.value("SELECT count(*) FROM {jobs} WHERE completed_at IS NULL")
        return left

    async def goes_on(self, left: int, secs: float) -> bool:
        """Whether more than so many jobs have not ended. After so many seconds that is a promise broken."""
        number = await self.left()
        if number > left and time.monotonic() > self._began + secs:
            self.broke(f"{number} jobs have not ended after {secs:g} s")
            return False
        return number > left

    async def are_over(self) -> bool:
        """Whether all jobs have ended."""
        return await self.left() == 0

    async def until_over(self, secs: float = END_SECS) -> None:
        """Wait until all jobs have ended, but not for ever: what has not is counted as lost."""
        await self.eventually(self.are_over, secs)

    async def eventually(self, condition: Callable[[], Awaitable[object]], secs: float) -> bool:
        """Whether something comes true within some time."""
        deadline = time.monotonic() + secs
        while not await condition():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.05)
        return True

    # Workers

    async def start(
        self,
        kind: str = "async",
        *,
        dsn: str | None = None,
        off_by: float = 0,
        **options: Any,
    ) -> Worker:
        """Start a worker process.

        Args:
            kind: The kind of worker.
            dsn: The way it takes to the database.
            off_by: Seconds by which its clock is off.
            options: Keyword arguments of the worker.
        """
        async with self._starting:
            if off_by not in self._nurseries:
                nursery = Nursery(self.schema, self._folder, off_by)
                self._nurseries[off_by] = await self._stack.enter_async_context(nursery)
        name = f"{self.schema} {kind} {next(self._numbers)}"
        worker = await self._nurseries[off_by].start(
            name,
            {
                "number": 0,
                "kind": kind,
                "dsn": conninfo.make_conninfo(dsn or self.way, application_name=name),
                "schema": self.schema,
                "environment": {handlers.DSN: self.way, handlers.SCHEMA: self.schema},
                "log": str(self._folder / f"{name}.log"),
                "options": options,
            },
        )
        self._workers.append(worker)
        return worker

    async def until_ready(self, *workers: Worker) -> None:
        """Wait until workers say that they are ready: from then on they know what to do when they are to stop."""
        for worker in workers:
            assert await self.eventually(partial(_is_ready, worker), READY_SECS), worker.log

    async def stop(self, workers: Iterable[Worker] | None = None) -> None:
        """Ask workers to stop, all by default; each has to. With which exit code is looked at in the end."""
        stopping = [each for each in (self._workers if workers is None else workers) if each.exit_code is None]
        for worker in stopping:
            # Before, it does not know how to stop.
            await self.eventually(partial(_is_ready, worker), READY_SECS)
            worker.terminate()
        for worker in stopping:
            try:
                await worker.ended()
            except TimeoutError:
                self.broke(f"{worker.name} did not stop: {_end_of(worker.log)}")
                worker.kill()
                await worker.ended()

    # The end

    async def report(self, faults: int) -> Report:
        """Stop what still runs, and judge what came of it all."""
        await self.stop()
        for worker in self._workers:
            if worker.exit_code != 0 and not worker.was_killed:
                self.broke(f"{worker.name} ended with exit code {worker.exit_code}: {_end_of(worker.log)}")
        await self._see_children_gone()
        report = Report(
            scenario=self.scenario,
            faults=faults,
            broken=tuple(self._broken),
            notes=tuple(self._notes),
            secs=time.monotonic() - self._began,
        )
        return await judge(self.tables, self.accepted, report)

    async def _see_children_gone(self) -> None:
        """No child of a worker outlives it, be it killed or not."""
        nurseries = {nursery.pid for nursery in self._nurseries.values()}

        async def gone() -> bool:
            return descendants(self.schema).keys() <= nurseries

        if not await self.eventually(gone, VANISH_SECS):
            left = [command for pid, command in descendants(self.schema).items() if pid not in nurseries]
            self.broke(f"{len(left)} processes have outlived their worker: {left[0]}")


async def _is_ready(worker: Worker) -> bool:
    return "is ready" in worker.log or worker.exit_code is not None


def _end_of(log: str) -> str:
    return " / ".join(log.splitlines()[-3:])
