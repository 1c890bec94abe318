"""A worker's program as users write it: nothing in it may be unknown to a strict type checker."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

from pgwerk import AsyncWorker, BaseWorker, Context, ForkWorker, ProcessWorker, Werk


async def remind(ctx: Context, name: str) -> list[str]:
    started = ctx.job.started_at or ctx.job.enqueued_at
    print(name, (started + timedelta(seconds=ctx.job.timeout_secs or 0)).isoformat())
    return [ctx.job.id]


def make_worker(app: Werk) -> BaseWorker:
    return AsyncWorker(app, queues=["default", "mail"], concurrency=20, burst=True)


def make_forking_worker(app: Werk) -> BaseWorker:
    return ForkWorker(app, ["reports"], 2, preload=["myapp.reports"], shutdown_timeout=60, burst=True)


def make_pool(app: Werk) -> BaseWorker:
    return ProcessWorker(app, concurrency=4, max_jobs_per_child=None, poll_interval=1.5)


async def main(dsn: str) -> None:
    async with Werk(dsn) as app:
        await app.options(queue="mail").enqueue(remind, "you")
        await make_worker(app).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
