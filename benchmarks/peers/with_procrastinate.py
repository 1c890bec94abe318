"""Procrastinate, with its asyncio connector; `concurrency` is the concurrency, all else is as it is by default.

So is the size of its pool: with 20 connections in place of 4 it was no faster. Jobs that have ended are kept, with
their events; it keeps no results.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import procrastinate

from benchmarks.peers import common


async def noop(number: int) -> None:
    common.began(number)


class ProcrastinateCaller:
    """Defers over the pool."""

    def __init__(self, task: Any) -> None:
        self._task = task

    async def one(self, number: int) -> None:
        await self._task.defer_async(number=number)

    async def many(self, jobs: int) -> None:
        await self._task.batch_defer_async(*({"number": number} for number in range(jobs)))


class ProcrastinatePeer:
    """An app for each piece of work."""

    name = "with_procrastinate"

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(main)

    async def install(self) -> None:
        async with _app() as app:
            await app.schema_manager.apply_schema_async()

    async def analyze(self) -> None:
        async with _app() as app:
            await app.connector.execute_query_async("ANALYZE")

    @contextlib.asynccontextmanager
    async def calling(self) -> AsyncIterator[ProcrastinateCaller]:
        async with _app() as app:
            yield ProcrastinateCaller(app.tasks["noop"])

    async def drain(self, concurrency: int) -> None:
        async with _app() as app:
            await app.run_worker_async(wait=False, concurrency=concurrency, install_signal_handlers=False)

    async def work(self) -> None:
        async with _app() as app:
            await app.run_worker_async(install_signal_handlers=False)

    def stop(self) -> None:
        """It is stopped by being cancelled."""


@contextlib.asynccontextmanager
async def _app() -> AsyncIterator[Any]:
    app = procrastinate.App(connector=procrastinate.PsycopgConnector())
    app.task(name="noop")(noop)
    async with app.open_async():
        yield app


PEER = ProcrastinatePeer()
