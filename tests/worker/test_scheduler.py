"""A worker that carries a scheduler: one process that enqueues what is due, and runs it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests import handlers
from tests.databases import scratch_database
from tests.worker.conftest import Proxy, Tables, ended, working

from pgwerk import (
    AsyncWorker,
    BaseWorker,
    CronScheduler,
    ForkWorker,
    ProcessWorker,
    SyncCronScheduler,
    SyncWerk,
    ThreadWorker,
    Werk,
)

KINDS = [
    AsyncWorker,
    ThreadWorker,
    pytest.param(ProcessWorker, marks=pytest.mark.posix),
    pytest.param(ForkWorker, marks=pytest.mark.posix),
]


def every_second(app: Werk | SyncWerk, name: str = "each", **options: Any) -> CronScheduler | SyncCronScheduler:
    """A scheduler of the client's flavour."""
    scheduler = CronScheduler(app) if isinstance(app, Werk) else SyncCronScheduler(app)
    scheduler.register(handlers.echo, cron="* * * * * *", name=name, args=(1,), **options)
    return scheduler


@pytest.fixture
async def sync_app(dsn: str, schema: str) -> AsyncIterator[SyncWerk]:
    app = SyncWerk(dsn, schema=schema)
    yield app
    await asyncio.to_thread(app.disconnect)


@pytest.mark.parametrize("kind", KINDS)
async def test_worker_carries_a_scheduler(app: Werk, tables: Tables, kind: type[BaseWorker]) -> None:
    """A worker of any kind runs what its scheduler enqueues, and stops together with it."""
    async with working(app, kind, scheduler=every_second(app)):
        await tables.until(lambda: tables.value("SELECT count(*) >= 2 FROM {jobs} WHERE status = 'complete'"))
    count = await tables.value("SELECT count(*) FROM {jobs}")
    await asyncio.sleep(1.1)
    assert count == await tables.value("SELECT count(*) FROM {jobs}")


async def test_blocking_scheduler(app: Werk, sync_app: SyncWerk, tables: Tables) -> None:
    """A scheduler for blocking code runs in a thread of the worker's process, and stops together with it."""
    async with working(app, ThreadWorker, scheduler=every_second(sync_app)):
        await tables.until(lambda: tables.value("SELECT count(*) >= 2 FROM {jobs} WHERE status = 'complete'"))
    count = await tables.value("SELECT count(*) FROM {jobs}")
    await asyncio.sleep(1.1)
    assert count == await tables.value("SELECT count(*) FROM {jobs}")


@pytest.mark.parametrize("blocking", [False, True])
async def test_burst(app: Werk, sync_app: SyncWerk, tables: Tables, blocking: bool) -> None:
    """A burst enqueues what is due before it looks for work, so a clock of the system's can drive it."""
    client = sync_app if blocking else app
    await asyncio.to_thread(every_second(sync_app).tick)
    await tables.rows("UPDATE {schedules} SET next_run_at = now() - interval '1 h'")
    await AsyncWorker(app, scheduler=every_second(client), burst=True, handle_signals=False).run()
    assert await tables.value("SELECT count(*) > 0 AND bool_and(status = 'complete') FROM {jobs}")


async def test_tick_starts_its_job_at_once(app: Werk, tables: Tables) -> None:
    """On an idle system a job starts when its tick comes: the worker does not wait for its next look around."""
    async with working(app, poll_interval=1000, scheduler=every_second(app)):
        await tables.until(lambda: tables.value("SELECT count(*) >= 4 FROM {jobs} WHERE status = 'complete'"))
    late = await tables.value(
        "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM started_at - scheduled_at)) FROM {jobs}"
    )
    # The promise is 0.1 s, which benchmarks show; machines that run tests have other things to do as well.
    assert 0 <= late < 0.5


async def test_database_that_goes_away(
    app: Werk, proxy: Proxy, tables: Tables, schema: str, caplog: pytest.LogCaptureFixture
) -> None:
    """When the database is away, the scheduler waits for it beside its worker, and makes up for what it has missed."""
    through = Werk(proxy.dsn, schema=schema)
    scheduler = every_second(through, catch_up="all")
    async with working(app, scheduler=scheduler):
        await tables.until(lambda: tables.value("SELECT count(*) >= 1 FROM {jobs}"))
        proxy.close()
        proxy.cut()
        await tables.until(lambda: any("scheduler failed" in each.getMessage() for each in caplog.records))
        proxy.open()
        before = await tables.value("SELECT count(*) FROM {jobs}")
        await tables.until(lambda: tables.value("SELECT count(*) > %s FROM {jobs}", before + 1))
    assert await tables.value(
        "SELECT count(*) = count(DISTINCT scheduled_at) "
        "AND count(*) = 1 + extract(epoch FROM max(scheduled_at) - min(scheduled_at)) FROM {jobs}"
    )


async def test_scheduler_that_cannot_start(app: Werk, caplog: pytest.LogCaptureFixture) -> None:
    """A scheduler whose own database is away does not keep the worker from its work, and goes on trying."""
    nowhere = CronScheduler(Werk("host=127.0.0.1 port=1 dbname=nowhere"))
    async with working(app, scheduler=nowhere):
        job = await app.enqueue(handlers.echo, 1)
        assert job is not None
        await app.wait_for(job.id, timeout=20)
        for _ in range(1000):
            if sum("the scheduler cannot start" in each.getMessage() for each in caplog.records) >= 2:
                break
            await asyncio.sleep(0.01)
        else:
            pytest.fail("the scheduler was not started again")


async def test_error_in_the_scheduler(
    app: Werk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A scheduler that fails for a reason of its own stops the worker, which would only look healthy without it."""
    scheduler = CronScheduler(app)

    async def fail() -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(scheduler, "run", fail)
    worker = AsyncWorker(app, scheduler=scheduler, handle_signals=False)
    await ended(worker, asyncio.create_task(worker.run()))
    assert any(
        each.levelno == logging.CRITICAL and "error in its scheduler" in each.getMessage() for each in caplog.records
    )


def test_what_is_no_scheduler(app: Werk) -> None:
    """Only a scheduler can be carried."""
    with pytest.raises(TypeError, match="scheduler must be a CronScheduler or a SyncCronScheduler, not Werk"):
        AsyncWorker(app, scheduler=app)  # type: ignore[arg-type]


def test_blocking_program(pg_server_dsn: str) -> None:
    """A program without any event loop has a worker and a scheduler in one process, too."""
    with scratch_database(pg_server_dsn) as dsn, SyncWerk(dsn) as app:
        scheduler = SyncCronScheduler(app)
        scheduler.register(handlers.echo, cron="* * * * * *", name="each", args=(1,))
        scheduler.tick()
        assert scheduler.trigger("each") is not None
        app.run(kind="thread", scheduler=scheduler, burst=True, handle_signals=False)
        assert {"complete"} == {job.status.value for job in app.list_jobs(schedule_name="each")}
