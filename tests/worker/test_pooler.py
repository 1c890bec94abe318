"""Workers behind PgBouncer in transaction mode: they poll, and otherwise nothing is different."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import handlers
from tests.pgbouncer import SESSIONS, PgBouncer, bouncing
from tests.worker import jobs
from tests.worker.conftest import Tables, working

from pgwerk import Dependency, EnqueueParams, Repeat, Retry, Werk
from pgwerk._async import listening
from pgwerk._async.connections import WerkCursor
from pgwerk._core.ids import new_id
from pgwerk._core.inserts import Settlement, settle_complete_params
from pgwerk._core.models import JobStatus
from pgwerk._core.policy import Outcome
from pgwerk.worker.claiming import Claimer
from pgwerk.worker.heads import Head
from pgwerk.worker.session import Session

pytestmark = pytest.mark.posix

LISTENING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query ~ '^(UN)?LISTEN'"


@pytest.fixture(scope="module")
def bouncer(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PgBouncer]:
    """A pooler with few sessions for many clients."""
    with bouncing(database, tmp_path_factory.mktemp("pgbouncer")) as bouncer:
        yield bouncer


@pytest.fixture
def behind(app: Werk, bouncer: PgBouncer) -> Werk:
    """A client that knows nothing of the pooler."""
    return Werk(bouncer.dsn, schema=app.config.schema)


@pytest.mark.usefixtures("ledger")
async def test_jobs_of_all_kinds(app: Werk, behind: Werk, tables: Tables, bouncer: PgBouncer) -> None:
    """Three workers behind a pooler run each job once, one of a group at a time, with retries, repeats and children."""
    plain = [EnqueueParams(jobs.nap, (0.001,), queue=f"q{number % 3}") for number in range(300)]
    grouped = [
        EnqueueParams(jobs.alone, (0.001,), group=f"g{number % 4}", queue=f"q{number % 3}") for number in range(120)
    ]
    await app.enqueue_many(plain + grouped)
    failing = await app.enqueue(handlers.fail, _retry=Retry(max=3, intervals=[0]), _queue="q0")
    assert failing is not None
    child = await app.enqueue(handlers.echo, "child", _depends_on=Dependency(failing.id, allow_failure=True))
    assert child is not None
    await app.enqueue(handlers.echo, _repeat=Repeat(times=3, interval=0))
    options: dict[str, Any] = {"queues": ["q0", "q1", "q2", "default"], "poll_interval": 0.05, "sweep_interval": 0.2}
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(working(behind, **options))
        await tables.until(lambda: tables.counts_are(complete=300 + 120 + 1 + 4, failed=1), 60)
        assert bouncer.sessions() <= SESSIONS
    assert 420 == await tables.value("SELECT count(*) FROM {schema}.effects")
    assert 420 == await tables.value("SELECT count(DISTINCT job_id) FROM {schema}.effects")
    assert 3 == len(await app.get_executions(failing.id))
    assert "child" == (await app.get_job(child.id)).result


async def test_plain_functions_enqueue_through_the_pooler(app: Werk, bouncer: PgBouncer, tables: Tables) -> None:
    """The client that a plain function gets knows the same ways as the worker's."""
    behind = Werk(bouncer.dsn, schema=app.config.schema, pooler=True, listen_dsn=app.dsn)
    async with working(behind, poll_interval=1000) as worker:
        result = await app.apply(handlers.plain_about, "word", timeout=30)
        blocking = worker._sync_werk
        assert (behind.dsn, True, app.dsn) == (blocking.dsn, blocking.pooler, blocking.listen_dsn)
    assert "SyncWerk" == result[3]
    assert 1 == await tables.value("SELECT count(*) FROM {jobs} WHERE id = %s", result[2])


async def test_worker_leaves_no_listen_behind(app: Werk, tables: Tables, database: str, tmp_path: Path) -> None:
    """Behind a pooler a worker does not listen, finds work at its poll interval, and asks nobody to notify it."""
    with bouncing(database, tmp_path) as bouncer:
        found_out, told = (Werk(bouncer.dsn, schema=app.config.schema, pooler=pooler) for pooler in ("auto", True))
        async with working(found_out, poll_interval=0.1), working(told, poll_interval=0.1, queues=["x"]):
            await app.apply(handlers.echo, timeout=30)
            await app.apply(handlers.echo, _queue="x", timeout=30)
            assert 2 == await tables.value("SELECT count(*) FROM {workers} WHERE NOT wants_news")
        assert [] == bouncer.in_all_sessions("SELECT pg_listening_channels()")


async def test_worker_listens_past_the_pooler(app: Werk, bouncer: PgBouncer, tables: Tables) -> None:
    """With `listen_dsn` a worker starts a job at once, however long its poll interval is."""
    behind = Werk(bouncer.dsn, schema=app.config.schema, listen_dsn=app.dsn)
    async with working(behind, poll_interval=1000):
        await tables.until(lambda: tables.value(f"SELECT ({LISTENING}) > 0"))
        for number in range(5):
            assert number == await app.apply(handlers.echo, number, timeout=30)
        job = await app.enqueue(handlers.echo, "later", _delay=0.2)
        assert job is not None
        assert "later" == (await app.wait_for(job.id, timeout=30)).result


async def test_deaf_connection_is_not_trusted(
    app: Werk, bouncer: PgBouncer, tables: Tables, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where LISTEN is accepted and nothing arrives, a worker polls, and keeps no connection for it."""
    monkeypatch.setattr(listening, "TRIAL_SECS", 0.5)
    deaf = Werk(app.dsn, schema=app.config.schema, listen_dsn=bouncer.dsn)
    caplog.set_level(logging.WARNING, "pgwerk.worker")
    async with working(deaf, poll_interval=0.1):
        await tables.until(lambda: "notifications do not arrive" in caplog.text)
        await tables.until(lambda: bouncer.clients() == 0)
        await app.apply(handlers.echo, timeout=30)
    assert 1 == len(caplog.records)


async def test_worker_goes_on_after_a_restart_of_the_pooler(
    app: Werk, database: str, tmp_path: Path, tables: Tables
) -> None:
    """A pooler that crashes and comes back costs a worker nothing but time: each job runs once."""
    with bouncing(database, tmp_path) as bouncer:
        behind = Werk(bouncer.dsn, schema=app.config.schema)
        async with working(behind, poll_interval=0.1):
            for _ in range(3):
                await app.enqueue_many([EnqueueParams(handlers.echo) for _ in range(50)])
                await tables.until(lambda: tables.value("SELECT count(*) > 0 FROM {jobs} WHERE status = 'complete'"))
                bouncer.stop()
                await asyncio.to_thread(bouncer.start)
                await tables.until(
                    lambda: tables.value("SELECT count(*) = 0 FROM {jobs} WHERE status IN ('queued', 'active')"), 60
                )
    assert {"complete": 150} == await tables.counts()


async def test_outage_behind_the_pooler_orphans_nobody(
    app: Werk, behind: Werk, tables: Tables, bouncer: PgBouncer, gates: Callable[..., asyncio.Event]
) -> None:
    """While a pooler holds its clients back, all leases run out; afterwards no worker takes a job away from another."""
    options: dict[str, Any] = {"heartbeat_interval": 1.0, "sweep_interval": 0.2, "concurrency": 1}
    async with working(behind, **options) as one, working(behind, **options) as two:
        running = [await app.enqueue(jobs.gated, name) for name in ("a", "b")]
        await tables.until(lambda: tables.value("SELECT count(*) = 2 FROM {jobs} WHERE status = 'active'"))
        # Both have been there for a lease, so each would rescue what the other loses.
        began = time.monotonic()
        await tables.until(lambda: time.monotonic() - began > 3.5)
        await asyncio.to_thread(bouncer.admin, "PAUSE")
        try:
            expired = "SELECT bool_and(heartbeat_at + lease_secs * interval '1 second' < now()) FROM {workers}"
            await tables.until(lambda: tables.value(expired))
            # One of the two is the first to be heard of again, by some time.
            holder = await tables.connect()
            await holder.execute("BEGIN")
            await holder.execute(tables.sql("SELECT FROM {workers} WHERE id = %s FOR UPDATE"), [two.id])
        finally:
            await asyncio.to_thread(bouncer.admin, "RESUME")
        await tables.until_beat(one.id)
        await tables.until_beat(one.id)
        await holder.execute("ROLLBACK")
        await tables.until_beat(two.id)
        for name in ("a", "b"):
            gates(name).set()
        for job in running:
            assert job is not None
            ended = await app.wait_for(job.id, timeout=30)
            assert (1, "complete") == (ended.attempts, ended.status)


PLANNED = ["turn_over_ungrouped", "turn_over_from_head", "claim_ungrouped", "claim_from_head", "settle_complete"]


@pytest.mark.usefixtures("app")
async def test_plans_of_turns_behind_the_pooler(tables: Tables, bouncer: PgBouncer) -> None:
    """Planned each time, with the server's own settings, a turn finds its rows by an index among 100,000 jobs."""
    await tables.rows(
        "INSERT INTO {jobs} (id, function, queue, status, priority, scheduled_at, enqueued_at, attempts, worker_id) "
        "SELECT gen_random_uuid(), 'f', 'default', CASE WHEN n <= 100 THEN 'active' ELSE 'queued' END, n %% 3, "
        "now(), now(), (n <= 100)::int, CASE WHEN n <= 100 THEN %s::uuid END FROM generate_series(1, 100000) AS n",
        worker_id := new_id(),
    )
    running = [row[0] for row in await tables.rows("SELECT id::text FROM {jobs} WHERE status = 'active' ORDER BY id")]
    ends = [Settlement(job_id, worker_id, 1, Outcome(JobStatus.Complete, None), is_plain=True) for job_id in running]
    head = Head()
    head.was_left(0, is_exhausted=False)
    session = Session(bouncer.dsn, silence_secs=10)
    try:
        async with session.use() as connection:
            assert session.is_pooled
            head.move(await Claimer(tables.statements, worker_id, ["default"]).claim(connection, 100))
            params = {"queue": "default", "limit": 100, "worker_id": worker_id}
            params |= settle_complete_params(ends) | head.params()
            for is_analyzed in (False, True):
                if is_analyzed:
                    await tables.rows("ANALYZE {jobs}")
                for name in PLANNED:
                    explain = b"EXPLAIN (COSTS OFF) " + tables.statements[name]
                    cursor = await WerkCursor(connection).execute(explain, params)
                    plan = "\n".join([row[0] for row in await cursor.fetchall()])
                    assert "Seq Scan" not in plan, f"{name}\n{plan}"
                    assert "Hash Cond" not in plan, f"{name}\n{plan}"
                    sorted_by = [line for line in plan.splitlines() if "Sort Key" in line]
                    assert all("batch.number" in line or "s.queue" in line for line in sorted_by), f"{name}\n{plan}"
                    assert ("_jobs_ready on" in plan) == (name != "settle_complete"), f"{name}\n{plan}"
            turn = await Claimer(tables.statements, worker_id, ["default"]).turn_over(connection, 100, ends)
            assert sorted(each.key for each in ends) == sorted(turn.settled)
            assert 100 == len(turn.claimed)
    finally:
        await session.close()
