"""Faults, and they are real: killed processes, a server that restarts, sessions and connections that are cut."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg import conninfo
from tests import handlers
from tests.embedded.helpers import needs_wheel
from tests.worker import jobs
from tests.worker.conftest import Proxy, Tables, working
from tests.worker.entry import WorkerProcess

from pgwerk import AsyncWorker, EnqueueParams, Retry, Werk
from pgwerk.embedded import EmbeddedPostgres, StopMode

Gates = Callable[..., asyncio.Event]
StartWorker = Callable[..., WorkerProcess]

SHORT_LEASE: dict[str, Any] = {"heartbeat_interval": 0.1, "sweep_interval": 0.5, "poll_interval": 0.5}


async def endings(tables: Tables) -> dict[str, int]:
    """How many attempts on record have ended in which way."""
    return dict(await tables.rows("SELECT status, count(*) FROM {executions} GROUP BY 1"))


# Worker processes


async def exit_code(tables: Tables, process: WorkerProcess) -> int | None:
    """What a process ends with, when it does."""
    await tables.until(lambda: process.exit_code is not None)
    return process.exit_code


@pytest.mark.posix
@pytest.mark.usefixtures("ledger")
async def test_twenty_kills(app: Werk, tables: Tables, start_worker: StartWorker) -> None:
    """Twenty times SIGKILL during 2,000 jobs: each job completes once, none stays active, each attempt is on record.

    One of the jobs is there to be hit every time: it completes in its twenty-first attempt.
    """
    victim = await app.enqueue(jobs.outlast, 20, _priority=1, _retry=Retry(max=50))
    assert victim is not None
    naps = [EnqueueParams(jobs.nap, (0.02,), retry=Retry(max=50)) for _ in range(1999)]
    await app.enqueue_many(naps)
    hit = "SELECT status = 'active' AND attempts = %s FROM {jobs} WHERE id = %s"
    for attempt in range(1, 21):
        process = start_worker(concurrency=5, **SHORT_LEASE)
        await tables.until(partial(tables.value, hit, attempt, victim.id))
        process.kill()
    last = start_worker(concurrency=20, **SHORT_LEASE)
    await tables.until(lambda: tables.counts_are(complete=2000), 60)
    last.terminate()
    assert 0 == await exit_code(tables, last), last.log

    assert {"complete": 2000} == await tables.counts()
    ended = await endings(tables)
    assert 2000 == ended["complete"]
    assert sum(ended.values()) == await tables.value("SELECT sum(attempts) FROM {jobs}")
    assert 21 == (await app.get_job(victim.id)).attempts
    assert list(range(1, 22)) == [each.attempt for each in await app.get_executions(victim.id)]
    assert 0 == await tables.value(
        "SELECT count(*) FROM {executions} e WHERE e.status = 'complete' AND NOT EXISTS "
        "(SELECT FROM {schema}.effects f WHERE f.job_id = e.job_id AND f.attempt = e.attempt)"
    )
    assert 0 == await tables.value(
        "SELECT count(*) FROM {executions} WHERE status = 'failed' AND error NOT LIKE '%%its worker was lost'"
    )


@pytest.mark.posix
@pytest.mark.usefixtures("ledger")
async def test_rescue_within_a_lease(app: Werk, tables: Tables, start_worker: StartWorker) -> None:
    """With heartbeats of 0.3 s, the job of a worker that is killed runs elsewhere in less than 2 s."""
    job = await app.enqueue(jobs.outlast, 1, _retry=Retry(max=2, intervals=0))
    assert job is not None
    options = {"heartbeat_interval": 0.3, "concurrency": 1}
    victim = start_worker(**options)
    await tables.until(lambda: tables.counts_are(active=1))
    start_worker(**options)
    await tables.until(lambda: tables.value("SELECT count(*) = 2 FROM {workers}"))
    # A worker rescues when it has been connected for a lease.
    await asyncio.sleep(1.2)
    killed_at = await tables.value("SELECT clock_timestamp()")
    victim.kill()
    await tables.until(lambda: tables.counts_are(complete=1))
    _, second = await app.get_executions(job.id)
    assert second.started_at is not None
    assert second.started_at - killed_at < timedelta(seconds=2)


@pytest.mark.posix
async def test_job_that_kills_its_workers(app: Werk, tables: Tables, start_worker: StartWorker) -> None:
    """A job that kills each worker it runs on ends as failed, with each attempt in its history, and others go on."""
    job = await app.enqueue(jobs.kill_worker, _retry=Retry(max=3))
    assert job is not None
    for _ in range(3):
        assert -9 == await exit_code(tables, start_worker(**SHORT_LEASE))
    survivor = start_worker(**SHORT_LEASE)
    await tables.until(lambda: tables.counts_are(failed=1))
    await app.apply(handlers.echo, timeout=30)
    assert survivor.exit_code is None
    executions = await app.get_executions(job.id)
    assert [(1, "failed"), (2, "failed"), (3, "failed")] == [(each.attempt, each.status) for each in executions]
    assert 3 == len({each.worker_id for each in executions})


@pytest.mark.posix
@pytest.mark.usefixtures("ledger")
async def test_sigterm_lets_running_jobs_end(app: Werk, tables: Tables, start_worker: StartWorker) -> None:
    """After SIGTERM, a worker process ends what it runs and claims nothing more; its exit code is 0."""
    await app.enqueue_many([EnqueueParams(jobs.nap, (0.5,)) for _ in range(30)])
    process = start_worker(concurrency=5)
    await tables.until(lambda: tables.value("SELECT count(*) = 5 FROM {jobs} WHERE status = 'active'"))
    running = {job.id for job in await app.list_jobs(status="active")}
    process.terminate()
    assert 0 == await exit_code(tables, process), process.log
    complete = {job.id for job in await app.list_jobs(status="complete")}
    assert running <= complete
    assert {"complete": len(complete), "queued": 30 - len(complete)} == await tables.counts()
    assert 0 == await tables.value("SELECT sum(attempts) FROM {jobs} WHERE status = 'queued'")
    assert {"complete": len(complete)} == await endings(tables)
    assert len(complete) == await tables.value("SELECT count(*) FROM {schema}.effects")


@pytest.mark.posix
@pytest.mark.usefixtures("ledger")
async def test_sigterm_without_patience_gives_jobs_back(app: Werk, tables: Tables, start_worker: StartWorker) -> None:
    """With `shutdown_timeout=0`, SIGTERM stops what runs; it is queued again, as if it had never been tried."""
    await app.enqueue_many([EnqueueParams(jobs.outlast, (1,)) for _ in range(20)])
    before = await app.list_jobs()
    process = start_worker(concurrency=5, shutdown_timeout=0)
    await tables.until(lambda: tables.counts_are(active=5, queued=15))
    process.terminate()
    assert 0 == await exit_code(tables, process), process.log
    assert before == await app.list_jobs()
    assert {} == await endings(tables)
    assert 0 == await tables.value("SELECT count(*) FROM {workers}")


# Cut connections


@pytest.mark.usefixtures("ledger")
async def test_sessions_that_are_cut(app: Werk, tables: Tables) -> None:
    """Whenever the sessions of a worker are cut, no job is lost, run twice or charged with an attempt."""
    await app.enqueue_many([EnqueueParams(jobs.nap, (0.02,)) for _ in range(1000)])
    name = f"{tables.schema} victim"
    moments, cuts = random.Random(2), 0
    named = conninfo.make_conninfo(tables.dsn, application_name=name)
    async with Werk(named, schema=tables.schema) as victim, working(victim, poll_interval=0.2):
        deadline = time.monotonic() + 60
        while not await tables.counts_are(complete=1000) and time.monotonic() < deadline:
            cuts += await tables.value(
                "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE application_name = %s",
                name,
            )
            await asyncio.sleep(moments.uniform(0, 0.25))
    assert {"complete": 1000} == await tables.counts()
    assert {"complete": 1000} == await endings(tables)
    assert 1000 == await tables.value("SELECT sum(attempts) FROM {jobs}")
    assert 1000 == await tables.value("SELECT count(*) FROM {schema}.effects")
    assert 20 < cuts


async def test_outage_does_not_make_workers_rob_each_other(app: Werk, tables: Tables, gates: Gates) -> None:
    """After an outage, the worker that comes back first leaves the others the time of a lease to come back, too."""
    for name in "ab":
        await app.enqueue(jobs.gated, name)
    options: dict[str, Any] = {"concurrency": 1, "heartbeat_interval": 1.5, "sweep_interval": 0.2}
    async with (
        Proxy(tables.dsn) as first,
        Proxy(tables.dsn) as second,
        Werk(first.dsn, schema=tables.schema) as one,
        Werk(second.dsn, schema=tables.schema) as two,
        working(one, **options) as early,
        working(two, **options) as late,
    ):
        await tables.until(lambda: tables.counts_are(active=2))
        first.close()
        second.close()
        await tables.rows("UPDATE {workers} SET heartbeat_at = now() - interval '1 hour'")
        first.open()
        # After each beat it would rescue, and there are two.
        await tables.until_beat(early.id)
        await tables.until_beat(early.id)
        second.open()
        await tables.until_beat(late.id)
        for name in "ab":
            gates(name).set()
        await tables.until(lambda: tables.counts_are(complete=2))
    assert {"complete": 2} == await endings(tables)


async def test_lost_worker_is_robbed_in_the_end(app: Werk, tables: Tables, proxy: Proxy, gates: Gates) -> None:
    """A worker that does not come back within its lease loses its job to another one, though it still runs it."""
    job = await app.enqueue(jobs.gated, _retry=Retry(max=2))
    assert job is not None
    gates(attempt=2).set()
    options: dict[str, Any] = {"heartbeat_interval": 0.2}
    async with Werk(proxy.dsn, schema=tables.schema) as distant, working(distant, **options) as lost:
        await tables.until(lambda: tables.counts_are(active=1))
        proxy.close()
        async with working(app, **options) as heir:
            await tables.until(lambda: tables.counts_are(complete=1))
        gates(attempt=1).set()
        proxy.open()
        after = await app.enqueue(handlers.echo)
        assert after is not None
        assert lost.id == (await app.wait_for(after.id, timeout=30)).worker_id
    executions = await app.get_executions(job.id)
    assert [(lost.id, "failed"), (heir.id, "complete")] == [(each.worker_id, each.status) for each in executions]
    assert 2 == (await app.get_job(job.id)).result


# A database that is away


async def test_start_without_a_database(proxy: Proxy) -> None:
    """A worker that cannot reach the database when it is started says so at once, without the password."""
    proxy.close()
    app = Werk(conninfo.make_conninfo(proxy.dsn, password="secret"))
    tasks = asyncio.all_tasks()
    with pytest.raises(psycopg.OperationalError, match="connection failed") as caught:
        await asyncio.wait_for(AsyncWorker(app, handle_signals=False).run(), 10)
    assert "secret" not in str(caught.value)
    assert tasks == asyncio.all_tasks()


async def test_start_while_the_database_is_away(
    app: Werk, tables: Tables, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker of a client that has been connected before waits for the database to come back."""
    await app.enqueue(handlers.echo)
    async with Werk(proxy.dsn, schema=tables.schema) as distant:
        proxy.close()
        async with working(distant):
            await tables.until(lambda: "cannot register the worker" in caplog.text)
            proxy.open()
            await tables.until(lambda: tables.counts_are(complete=1))


async def test_stop_while_waiting_for_the_database(
    tables: Tables, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker that waits for the database, and has nothing to tell it, stops when it is told to."""
    async with Werk(proxy.dsn, schema=tables.schema) as distant:
        proxy.close()
        async with working(distant):
            await tables.until(lambda: "cannot register the worker" in caplog.text)


@pytest.mark.parametrize("burst", [False, True])
async def test_stop_with_results_that_wait(  # noqa: PLR0917 - fixtures are named by whoever calls it
    app: Werk, tables: Tables, proxy: Proxy, gates: Gates, caplog: pytest.LogCaptureFixture, burst: bool
) -> None:
    """A worker with results that wait for the database stops when they are settled, or when it is told to again."""
    await app.enqueue(jobs.gated, _retry=2)
    async with Werk(proxy.dsn, schema=tables.schema) as distant:
        worker = AsyncWorker(distant, handle_signals=False, burst=burst)
        task = asyncio.create_task(worker.run())
        await tables.until(lambda: tables.counts_are(active=1))
        proxy.close()
        gates().set()
        await tables.until(lambda: "1 results wait for the database" in caplog.text)
        worker.stop()
        done, _ = await asyncio.wait([task], timeout=0.3)
        assert not done
        worker.stop(now=True)
        await asyncio.wait_for(task, 10)
    # Its row stays, so that its job is rescued when the lease is over.
    assert 1 == await tables.value("SELECT count(*) FROM {workers}")
    await tables.lapse(worker.id)
    assert 1 == len(await app.sweep())


# A server that refuses, or restarts


async def test_outcome_that_the_server_refuses(app: Werk, tables: Tables) -> None:
    """A result that is beyond a limit of the server's fails its job, and does not hold up the results of others."""
    # A result of more than 256 MB, in short.
    await tables.before_update("complete", "RAISE program_limit_exceeded USING MESSAGE = 'too large'")
    await app.enqueue(handlers.echo, 1, _priority=99)
    await app.enqueue(handlers.echo, 2)
    async with working(app):
        await tables.until(lambda: tables.counts_are(complete=1, failed=1), 10)
    (job,) = await app.list_jobs(status="failed")
    assert "cannot be stored: ProgramLimitExceeded: too large" in (job.error or "")


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """A server of our own, to restart."""
    with EmbeddedPostgres(version=int(os.environ.get("PGWERK_TEST_PG", "18"))) as server:
        yield server


@needs_wheel
async def test_server_that_restarts(server: EmbeddedPostgres, schema: str) -> None:
    """While the server restarts, and crashes, jobs run and are enqueued: none is lost, and the worker goes on."""
    tables = Tables(server.dsn, schema)
    async with Werk(server.dsn, schema=schema) as app, working(app):
        await app.enqueue_many([EnqueueParams(jobs.nap_quietly, (0, 0.05)) for _ in range(500)])
        enough = asyncio.Event()
        enqueuing = asyncio.create_task(enqueue_until(enough, app))
        done = "SELECT count(*) FROM {jobs} WHERE status = 'complete'"
        modes: list[StopMode] = ["fast", "immediate", "fast", "immediate"]
        for mode in modes:
            goal = 50 + await tables.value(done)
            await tables.until(partial(tables.value, f"SELECT ({done}) >= %s", goal))
            await tables.until(partial(tables.value, "SELECT count(*) FROM {jobs} WHERE status = 'active'"))
            await asyncio.to_thread(server.restart, mode)
            await tables.forget()
        enough.set()
        total = 500 + await enqueuing
        await tables.until(lambda: tables.counts_are(complete=total))
    assert {"complete": total} == await endings(tables)
    assert total == await tables.value("SELECT sum(attempts) FROM {jobs}")
    await tables.forget()


@needs_wheel
async def test_unlogged_tables_after_a_crash(server: EmbeddedPostgres, schema: str, gates: Gates) -> None:
    """With `ephemeral_tables`, a crash of the server empties the table of workers, and they come back by themselves.

    None of their jobs is taken for an orphan meanwhile.
    """
    tables = Tables(server.dsn, schema)
    config = {"ephemeral_tables": True}
    async with Werk(server.dsn, schema=schema, config=config) as app, working(app, heartbeat_interval=0.3) as worker:
        await app.enqueue(jobs.gated)
        await tables.until(lambda: tables.counts_are(active=1))
        assert "u" == await tables.value("SELECT relpersistence::text FROM pg_class WHERE oid = '{workers}'::regclass")
        await asyncio.to_thread(server.restart, "immediate")
        await tables.forget()
        registered = "SELECT count(*) FROM {workers} WHERE id = %s"
        await tables.until(lambda: tables.value(registered, worker.id))
        await tables.until_beat(worker.id)
        assert [] == await app.sweep()
        gates().set()
        await tables.until(lambda: tables.counts_are(complete=1))
    assert {"complete": 1} == await endings(tables)
    await tables.forget()


@needs_wheel
async def test_server_that_cannot_be_written_to(
    server: EmbeddedPostgres, schema: str, gates: Gates, caplog: pytest.LogCaptureFixture
) -> None:
    """While the server takes no writes, in a failover or on a full disk, the worker waits, and nothing is lost."""
    tables = Tables(server.dsn, schema)
    async with Werk(server.dsn, schema=schema) as app, working(app, heartbeat_interval=0.2):
        await app.enqueue(jobs.gated)
        await tables.until(lambda: tables.counts_are(active=1))
        await read_only(tables, True)
        try:
            # A session knows of it when one of its statements has failed; heartbeats and results share theirs. There is
            # nothing to claim, so no claim is tried.
            await tables.until(lambda: "heartbeat failed" in caplog.text)
            assert "read-only transaction" in caplog.text
            gates().set()
            await tables.until(lambda: "1 results wait for the database" in caplog.text)
        finally:
            await read_only(tables, False)
        await app.enqueue(handlers.echo)
        await tables.until(lambda: tables.counts_are(complete=2), 15)
    assert {"complete": 2} == await endings(tables)
    await tables.forget()


async def read_only(tables: Tables, switch: bool) -> None:
    """Have the server of these tables refuse to write, or not."""
    connection = await tables.connect()
    await connection.execute("SET default_transaction_read_only = off")
    await connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {switch}".encode())
    await connection.execute("SELECT pg_reload_conf()")


async def enqueue_until(enough: asyncio.Event, app: Werk) -> int:
    """Enqueue one job after the other, each until the server says that it is there; gives their number."""
    number = 0
    while not enough.is_set():
        number += 1
        for _ in range(1000):
            try:
                await app.enqueue(jobs.nap_quietly, number, 0.01, _key=str(number))
                break
            except psycopg.OperationalError:
                await asyncio.sleep(0.02)
    return number


@needs_wheel
async def test_leases_do_not_count_right_after_a_restart(server: EmbeddedPostgres, schema: str) -> None:
    """When the server has just come back, leases have run out because of that, and nothing is rescued for a lease."""
    tables = Tables(server.dsn, schema)
    async with Werk(server.dsn, schema=schema) as app:
        await app.enqueue(handlers.echo, _retry=2)
        connection = await tables.connect()
        (claimed,) = await tables.claimer().claim(connection, 1)
        await tables.lapse(claimed.worker_id)
        await tables.rows("UPDATE {workers} SET lease_secs = 1000")
        await asyncio.to_thread(server.restart)
        await tables.forget()
        assert [] == await app.sweep()
        await tables.lapse(claimed.worker_id)
        await tables.until(app.sweep)
    assert {"queued": 1} == await tables.counts()
    await tables.forget()
