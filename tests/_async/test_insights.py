"""What operators are told: workers, running jobs, queues with their history, and the server."""

from __future__ import annotations

import itertools
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import pq
from tests import handlers
from tests._async import _compat
from tests._async.conftest import MakeApp
from tests.pgbouncer import SESSIONS, bouncing

import pgwerk
from pgwerk import EnqueueParams, JobStatus, Percentiles, QueueStats, Retry, Werk, WorkerInfo

_numbers = itertools.count(1)


async def sql(app: Werk, statement: str, *params: Any) -> None:
    """Change the tables by hand; `{}` stands for the beginning of their names."""
    where = f'"{app.config.schema}"."{app.config.prefix}_'
    async with await psycopg.AsyncConnection.connect(app.dsn, autocommit=True) as connection:
        await connection.execute(statement.replace("{}", where).encode(), params)


async def add_worker(app: Werk, *, queues: list[str], silent_secs: float = 0.0, host: str = "there") -> str:
    """A worker's row, as one leaves it behind that was last heard of so many seconds ago."""
    await app.connect()
    worker_id = f"01900000-0000-7000-8000-{next(_numbers):012}"
    await sql(
        app,
        "INSERT INTO {}workers\" VALUES (%s, 'async', %s, 4242, %s, 10, '0.0.1', 3, now() - interval '1 day', "
        "now() - %s * interval '1 second', 30)",
        worker_id,
        host,
        queues,
        silent_secs,
    )
    return worker_id


async def stats(app: Werk, queue: str, since: float | timedelta = 3600, slices: int = 20) -> QueueStats:
    """What is told about one queue."""
    return next(each for each in await app.queue_stats(since, slices=slices) if each.queue == queue)


async def until_running(app: Werk, count: int) -> None:
    """Wait until so many jobs run."""
    deadline = time.monotonic() + 20
    while len(await app.list_running()) < count:
        assert time.monotonic() < deadline
        await _compat.pause()


# Workers


async def test_worker_that_runs(app: Werk) -> None:
    """A worker is listed from its start to its end, with what it is and that it is alive."""
    assert [] == await app.list_workers()
    async with _compat.working(app, queues=["a", "b"], concurrency=7) as worker:
        deadline = time.monotonic() + 20
        while not (found := await app.list_workers()):
            assert time.monotonic() < deadline
            await _compat.pause()
        assert [worker.id] == [each.id for each in found]
        (each,) = found
        assert (("a", "b"), 7, 30.0, True) == (each.queues, each.concurrency, each.lease_secs, each.is_alive)
        assert each.heartbeat_at + timedelta(seconds=30) == each.lease_expires_at
        assert timedelta(0) == each.started_at.utcoffset()
    assert [] == await app.list_workers()


async def test_worker_that_was_lost(app: Werk) -> None:
    """A worker whose lease has run out is on the list, and not alive; the clock of the database decides."""
    lost = await add_worker(app, queues=["a"], silent_secs=31)
    silent = await add_worker(app, queues=["a"], silent_secs=25)
    alive = {each.id: each.is_alive for each in await app.list_workers()}
    assert {lost: False, silent: True} == alive


async def test_running_jobs(app: Werk) -> None:
    """Jobs that run are listed with their attempt and worker, the one that has run longest first, up to a limit."""
    assert [] == await app.list_running()
    first = await app.enqueue(handlers.hang, _queue="q", _retry=Retry(max=3))
    assert first is not None
    async with _compat.working(app, queues=["q"], shutdown_timeout=0) as worker:
        await until_running(app, 1)
        second = await app.enqueue(handlers.hang, _queue="q")
        assert second is not None
        await until_running(app, 2)
        found = await app.list_running()
        assert [first.id, second.id] == [each.id for each in found]
        expected = ("tests.handlers.hang", "q", JobStatus.Active, 1, 3, worker.id)
        one = found[0]
        assert expected == (one.function, one.queue, one.status, one.attempt, one.max_attempts, one.worker_id)
        assert one.running_secs >= found[1].running_secs >= 0
        assert [first.id] == [each.id for each in await app.list_running(limit=1)]
    with pytest.raises(ValueError, match="limit"):
        await app.list_running(limit=-1)


# Queues


async def test_depths(app: Werk) -> None:
    """Jobs that have not ended are counted by what they are, whether they have a group or not."""
    await app.enqueue_many([EnqueueParams(handlers.echo, queue="q") for _ in range(3)])
    parent = await app.enqueue(handlers.echo, _queue="q", _group="g")
    assert parent is not None
    await app.enqueue(handlers.echo, _queue="q", _delay=1000)
    await app.enqueue(handlers.echo, _queue="q", _depends_on=parent)
    await app.enqueue(handlers.echo, _queue="other")
    assert ["other", "q"] == [each.queue for each in await app.queue_stats()]
    found = await stats(app, "q")
    assert (4, 1, 1, 0) == (found.queued, found.scheduled, found.waiting, found.active)


async def test_age_of_the_oldest(app: Werk) -> None:
    """The oldest ready job counts, by the time at which it could have been claimed, in seconds."""
    await app.enqueue(handlers.echo, _queue="q")
    await app.enqueue(handlers.echo, _queue="later", _delay=1000)
    await sql(app, "UPDATE {}jobs\" SET scheduled_at = now() - interval '100 s' WHERE queue = 'q'")
    found = await stats(app, "q")
    assert found.oldest_secs is not None
    assert 100 <= found.oldest_secs < 160
    later = await stats(app, "later")
    assert later.oldest_secs is None


async def test_workers_of_a_queue(app: Werk) -> None:
    """Workers that are alive are counted for each of their queues, also where nothing is in it."""
    await add_worker(app, queues=["a", "b"])
    await add_worker(app, queues=["b"])
    await add_worker(app, queues=["a", "gone"], silent_secs=1000)
    # A client that runs one job itself.
    await sql(app, "UPDATE {}workers\" SET kind = 'sync' WHERE id = %s", await add_worker(app, queues=["a", "own"]))
    assert {"a": 1, "b": 2} == {each.queue: each.workers for each in await app.queue_stats()}


async def test_history(app: Werk) -> None:
    """Attempts that ended are counted by how they did; a failed one after which the job goes on, as retried as well."""
    await app.enqueue_many([EnqueueParams(handlers.echo, queue="q") for _ in range(5)])
    await app.enqueue(handlers.fail, _queue="q", _retry=Retry(max=2, intervals=[0]))
    await app.enqueue(handlers.fail, _queue="q", _retry=Retry(max=2, intervals=[1000]))
    await _compat.burst(app, queues=["q"])
    found = await stats(app, "q", timedelta(hours=1), slices=4)
    assert (5, 3, 0, 2) == (found.completed, found.failed, found.aborted, found.retried)
    assert (8, 3600.0, 8 / 3600, 3 / 8) == (found.ended, found.since_secs, found.throughput, found.failure_rate)
    assert (0, 0, 0, 8) == found.series
    assert (0, 0, 0, 1) == (found.queued, found.active, found.waiting, found.scheduled)


async def test_window(app: Werk) -> None:
    """What ended before the window is left out, and the rest is counted in the part of it in which it ended."""
    await app.enqueue_many([EnqueueParams(handlers.echo, queue="q") for _ in range(4)])
    await _compat.burst(app, queues=["q"])
    await sql(
        app,
        "UPDATE {}executions\" e SET completed_at = now() - (n.n * 100 - 50) * interval '1 s' "
        'FROM (SELECT job_id, row_number() OVER (ORDER BY job_id) AS n FROM {}executions") n WHERE n.job_id = e.job_id',
    )
    found = await stats(app, "q", 300, slices=3)
    assert (3, (1, 1, 1)) == (found.ended, found.series)
    found = await stats(app, "q", 10_000, slices=2)
    assert (4, (0, 4)) == (found.ended, found.series)
    assert [] == await app.queue_stats(10)


async def test_wait_and_run_times(app: Werk) -> None:
    """Waiting is counted from the moment when a job could have run: its time, or the end of what it depended on."""
    parent = await app.enqueue(handlers.echo, _queue="parents")
    assert parent is not None
    child = await app.enqueue(handlers.echo, _queue="children", _depends_on=parent)
    again = await app.enqueue(handlers.fail, _queue="again", _retry=Retry(max=2, intervals=[0]))
    assert child is not None
    assert again is not None
    await _compat.burst(app, queues=["parents", "children", "again"])
    now = "date_trunc('second', now())"
    # Each could run 60 s ago; the parent started 50 s ago and ended 40 s ago, the child started 37 s ago.
    await sql(
        app, f"UPDATE {{}}jobs\" SET scheduled_at = {now} - interval '60 s', completed_at = {now} - interval '40 s'"
    )
    for job, attempt, started, ended in (
        (parent, 1, 50, 40),
        (child, 1, 37, 30),
        (again, 1, 50, 45),
        (again, 2, 43, 41),
    ):
        await sql(
            app,
            f"UPDATE {{}}executions\" SET started_at = {now} - %s * interval '1 s', "
            f"completed_at = {now} - %s * interval '1 s' WHERE job_id = %s AND attempt = %s",
            started,
            ended,
            job.id,
            attempt,
        )
    found = {each.queue: (each.wait, each.run) for each in await app.queue_stats()}
    assert (Percentiles(10, 10, 10), Percentiles(10, 10, 10)) == found["parents"]
    assert (Percentiles(3, 3, 3), Percentiles(7, 7, 7)) == found["children"]
    wait, run = found["again"]
    # The first attempt's time is not known any more. The second one could run when the first had ended.
    assert (Percentiles(2, 2, 2), 3.5) == (wait, run.p50)


async def test_nothing_has_ended(app: Werk) -> None:
    """Without history there are no times and no rate, and nothing is divided by zero."""
    await app.enqueue(handlers.echo, _queue="q")
    found = await stats(app, "q", slices=3)
    assert (Percentiles(), Percentiles(), None, 0.0) == (found.wait, found.run, found.failure_rate, found.throughput)
    assert (0, 0, 0) == found.series


@pytest.mark.parametrize(
    ("since", "slices", "error"),
    [(0, 20, ValueError), (-1, 20, ValueError), ("1h", 20, TypeError), (60, 0, ValueError), (60, 1001, ValueError)],
)
async def test_odd_spans(app: Werk, since: Any, slices: int, error: type[Exception]) -> None:
    """A span of time that makes no sense is refused, with the argument named."""
    with pytest.raises(error, match=r"since|slices"):
        await app.queue_stats(since, slices=slices)
    with pytest.raises(error, match=r"since|slices"):
        await app.overview(since, slices=slices)


async def test_overview(app: Werk) -> None:
    """The overview is what the three lists are, in one go."""
    worker_id = await add_worker(app, queues=["a"])
    await app.enqueue(handlers.echo, _queue="q")
    await sql(app, "UPDATE {}jobs\" SET status = 'active', started_at = now(), worker_id = %s, attempts = 1", worker_id)
    found = await app.overview(60, slices=5)
    assert ["a", "q"] == [each.queue for each in found.queues]
    assert 5 == len(found.queues[0].series)
    assert await app.list_workers() == list(found.workers)
    assert [worker_id] == [each.worker_id for each in found.running]
    nothing = await app.overview(limit=0)
    assert () == nothing.running


# The server


async def test_server_info(app: Werk) -> None:
    """The server, the tables with their sizes, the way to them, clocks and versions are told."""
    await app.enqueue(handlers.echo)
    found = await app.server_info()
    assert (app.config.schema, app.config.prefix) == (found.schema, found.prefix)
    assert found.latest_version == found.schema_version
    assert (False, "auto", False, False, True) == (
        found.ephemeral_tables,
        found.pooler,
        found.pooler_found,
        found.listen_dsn,
        found.can_listen,
    )
    tables = {each.name: each for each in found.tables}
    assert f"{app.config.prefix}_jobs" in tables
    assert tables[f"{app.config.prefix}_jobs"].bytes > 0
    assert tables[f"{app.config.prefix}_jobs"].index_bytes > 0
    assert abs(found.clock_ahead_secs) < 1
    assert 0 < found.round_trip_secs < found.connect_secs + 1
    assert psycopg.__version__ == found.psycopg_version
    assert str(pq.version() // 10000) == found.libpq_version.split(".")[0]


async def test_server_info_without_tables(make_app: MakeApp) -> None:
    """Where there are no tables, this says so, makes none, and runs no hooks."""
    app = make_app()
    app.on_startup(lambda: pytest.fail("connected"))
    found = await app.server_info()
    assert (0, None, ()) == (found.schema_version, found.ephemeral_tables, found.tables)
    status = await app.migration_status()
    assert 0 == status.version


@pytest.mark.posix
async def test_server_info_through_a_pooler(make_app: MakeApp, dsn: str, schema: str, tmp_path: Path) -> None:
    """A pooler is told of; nothing is listened to through it, and a way round it is tried."""
    await make_app().connect()
    with bouncing(dsn, tmp_path) as bouncer:
        through = await Werk(bouncer.dsn, schema=schema).server_info()
        assert (True, False) == (through.pooler_found, through.can_listen)
        round_it = await Werk(bouncer.dsn, schema=schema, listen_dsn=dsn).server_info()
        assert (True, True, True) == (round_it.pooler_found, round_it.listen_dsn, round_it.can_listen)
        other = await Werk(bouncer.dsn, schema=schema, listen_dsn=bouncer.dsn).server_info()
        assert False is other.can_listen
        assert [(0,)] * SESSIONS == bouncer.in_all_sessions("SELECT count(*) FROM pg_listening_channels()")


def test_models_are_public() -> None:
    """What these methods return can be imported by name."""
    names = {"Finding", "Overview", "Percentiles", "QueueStats", "RunningJob", "ServerInfo", "TableInfo", "WorkerInfo"}
    assert names <= set(pgwerk.__all__)
    assert WorkerInfo is pgwerk.WorkerInfo
