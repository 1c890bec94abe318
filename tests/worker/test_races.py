"""Races between workers, sweeps, clients and other transactions, each made by holding one side where it matters."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import psycopg
import pytest
from psycopg import conninfo, sql
from tests import handlers
from tests.worker import jobs
from tests.worker.conftest import Proxy, Tables, ended, working
from tests.worker.entry import WorkerProcess

from pgwerk import AsyncWorker, BaseWorker, EnqueueParams, ExecutionStatus, Job, JobStatus, Werk
from pgwerk._async.aftermath import Aftermath, end_unstarted
from pgwerk._async.leases import Lease, worker_row
from pgwerk._async.sweeping import Sweeper
from pgwerk._core.claimed import Claimed
from pgwerk._core.ids import new_id
from pgwerk._core.inserts import Settlement, settle_params
from pgwerk._core.policy import Outcome, given_back
from pgwerk.worker.calling import Callbacks
from pgwerk.worker.session import Session
from pgwerk.worker.settling import Settler
from pgwerk.worker.upkeep import Upkeep

Gates = Callable[..., asyncio.Event]

DROPPED = "was dropped: the job was taken away from this worker, or deleted"


async def enqueued(app: Werk, func: Callable[..., Any], *args: Any, **options: Any) -> Job:
    """Enqueue a job."""
    job = await app.enqueue(func, *args, **options)
    assert job is not None
    return job


async def many(app: Werk, count: int, **options: Any) -> list[str]:
    """Enqueue jobs, and give their ids: that is the order in which they are to be claimed."""
    found = await app.enqueue_many([EnqueueParams(handlers.echo, (number,), **options) for number in range(count)])
    return [job.id for job in found if job is not None]


async def activate(tables: Tables, job_ids: Iterable[str], worker_id: str) -> None:
    """Make jobs what a claim makes of them."""
    await tables.rows(
        "UPDATE {jobs} SET status = 'active', worker_id = %s, attempts = attempts + 1, started_at = now(), "
        "touched_at = now() WHERE id = ANY (%s::uuid[])",
        worker_id,
        list(job_ids),
    )


def success(claimed: Claimed) -> Settlement:
    """The settlement of an attempt that has succeeded."""
    outcome = Outcome(status=JobStatus.Complete, execution=ExecutionStatus.Complete)
    return Settlement.of(claimed, outcome)


def ids(claimed: Iterable[Claimed]) -> list[str]:
    return [each.id for each in claimed]


async def history(app: Werk, job_id: str) -> list[tuple[int, str]]:
    """The attempts at a job, and how each of them ended."""
    return [(each.attempt, each.status.value) for each in await app.get_executions(job_id)]


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged as an error."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


# Groups


GATE = 4711
"""The advisory lock that keeps a paused claim from going on."""


async def paused(tables: Tables) -> psycopg.AsyncConnection[Any]:
    """A connection on which a claim stops when it has looked, before it locks a group, while `GATE` is closed."""
    connection = await tables.connect()
    await connection.execute(
        tables.sql(
            "CREATE FUNCTION {schema}.pg_try_advisory_xact_lock(integer, integer) RETURNS boolean LANGUAGE plpgsql "
            "AS $$ BEGIN PERFORM pg_advisory_lock_shared(4711); PERFORM pg_advisory_unlock_shared(4711); "
            "RETURN pg_catalog.pg_try_advisory_xact_lock($1, $2); END $$"
        )
    )
    await connection.execute(tables.sql("SET search_path = {schema}, pg_catalog"))
    return connection


@contextlib.asynccontextmanager
async def closed_gate(tables: Tables) -> AsyncIterator[None]:
    """Keeps paused claims where they are."""
    connection = await tables.connect()
    await connection.execute("SELECT pg_advisory_lock(%s)", [GATE])
    yield
    await connection.execute("SELECT pg_advisory_unlock(%s)", [GATE])


@pytest.mark.parametrize("queue", ["default", "another"])
async def test_group_is_kept_until_the_claim_is_committed(app: Werk, tables: Tables, queue: str) -> None:
    """While a claim holds a group, another claim, of whatever queue, gets none of its jobs, and at once."""
    first, second = [*await many(app, 1, group="g"), *await many(app, 1, group="g", queue=queue)]
    one, two = await tables.connect(), await tables.connect()
    other = tables.claimer(queue)
    async with one.transaction():
        (claimed,) = await tables.claimer().claim(one, 10)
        assert [] == await other.claim(two, 10)
    assert first == claimed.id
    assert [] == await other.claim(two, 10)
    await two.execute(tables.statements["settle"], settle_params([success(claimed)]))
    assert [second] == ids(await other.claim(two, 10))


async def test_stale_look_claims_nothing(app: Werk, tables: Tables) -> None:
    """What was claimed of a group since a claim looked at it, that claim sees when it locks, and takes nothing."""
    await many(app, 2, group="g")
    stale = await paused(tables)
    async with closed_gate(tables):
        claiming = asyncio.create_task(tables.claimer().turn_over(stale, 10))
        await tables.until_blocked()
        # Another one's claim, which has let go of the group's lock again.
        (claimed,) = await tables.claimer().claim(await tables.connect(), 10)
    turn = await claiming
    assert ([], True) == (turn.claimed, turn.has_missed)
    await tables.rows("UPDATE {jobs} SET status = 'complete', completed_at = now() WHERE id = %s", claimed.id)
    assert 1 == len(await tables.claimer().claim(stale, 10))


async def test_better_job_that_starts_during_a_claim(app: Werk, tables: Tables) -> None:
    """A job that becomes the best of its group, and starts, while another claim runs, is not joined by a second one."""
    (worse,) = await many(app, 1, group="g")
    stale = await paused(tables)
    async with closed_gate(tables):
        claiming = asyncio.create_task(tables.claimer().turn_over(stale, 10))
        await tables.until_blocked()
        (better,) = await many(app, 1, group="g", priority=1)
        assert [better] == ids(await tables.claimer().claim(await tables.connect(), 10))
    assert [] == (await claiming).claimed
    assert [(worse, "queued"), (better, "active")] == await tables.rows(
        "SELECT id::text, status FROM {jobs} ORDER BY id"
    )


async def test_worker_comes_back_for_a_group_that_others_held(app: Werk, tables: Tables) -> None:
    """A worker that finds a group locked claims again in a moment, and does not wait for its poll."""
    holder = await tables.connect()
    async with working(app, poll_interval=60):
        async with holder.transaction():
            await holder.execute(tables.statements["lock_group"], {"group_key": "g"})
            await many(app, 1, group="g")
            await many(app, 1)
            await tables.until(lambda: tables.counts_are(queued=1, complete=1))
        await tables.until(lambda: tables.counts_are(complete=2), 10)


async def test_aborting_job_keeps_its_group_busy(app: Werk, tables: Tables) -> None:
    """A job that was asked to abort still runs, so no other job of its group is claimed."""
    await many(app, 2, group="g")
    connection = await tables.connect()
    (claimed,) = await tables.claimer().claim(connection, 10)
    await tables.rows("UPDATE {jobs} SET status = 'aborting' WHERE id = %s", claimed.id)
    assert [] == await tables.claimer().claim(connection, 10)


async def test_blocked_group_at_the_head_is_not_in_the_way(app: Werk, tables: Tables) -> None:
    """Behind hundreds of jobs of one blocked group, another group's job is claimed by the next claim."""
    running, *_ = await many(app, 350, group="blocked")
    (behind,) = await many(app, 1, group="free")
    await activate(tables, [running], new_id())
    assert [behind] == ids(await tables.claimer().claim(await tables.connect(), 10))


async def test_many_blocked_groups_are_not_in_the_way(app: Werk, tables: Tables) -> None:
    """Behind more blocked groups than one claim looks at, another group's job is claimed by one of the next claims."""
    groups = [EnqueueParams(handlers.echo, group=f"blocked {number:03}") for number in range(250)]
    running = [job.id for job in await app.enqueue_many(groups) if job is not None]
    await app.enqueue_many(groups)
    (behind,) = await many(app, 1, group="free")
    await activate(tables, running, new_id())
    connection, claimer = await tables.connect(), tables.claimer()
    assert [behind] == [job_id for _ in range(5) for job_id in ids(await claimer.claim(connection, 10))]


@contextlib.asynccontextmanager
async def database_of_its_own(dsn: str) -> AsyncIterator[str]:
    """A database in which the server counts nobody else's failures."""
    name = f"pgwerk_test_{secrets.token_hex(6)}"
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield conninfo.make_conninfo(dsn, dbname=name)
        await connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


async def failed_transactions(tables: Tables) -> int:
    """How many transactions of this database have failed, those of sessions aside that have not ended."""
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    await tables.until(lambda: tables.value(f"SELECT 0 = ({others})"))
    # The server counts with a delay, so one more fails in the end, to wait for.
    async with await psycopg.AsyncConnection.connect(tables.dsn) as connection:
        with pytest.raises(psycopg.errors.DivisionByZero):
            await connection.execute("SELECT 1 / 0")
    failed = "SELECT pg_stat_get_db_xact_rollback(oid)::int FROM pg_database WHERE datname = current_database()"
    await tables.until(lambda: tables.value(failed))
    return int(await tables.value(failed)) - 1


@pytest.mark.parametrize("processes", [False, pytest.param(True, marks=pytest.mark.posix)])
async def test_groups_run_one_job_at_a_time(
    dsn: str, schema: str, processes: bool, start_worker: Callable[..., WorkerProcess]
) -> None:
    """Three workers, in one process or in three, never run two jobs of one of twenty groups, and run them all.

    The handlers find out themselves that they are alone. The unique index over running groups is only the backstop: it
    makes no transaction fail.
    """
    options: dict[str, Any] = {"queues": ["a", "b"], "concurrency": 8, "burst": True, "poll_interval": 0.1}
    async with database_of_its_own(dsn) as own:
        tables = Tables(own, schema)
        async with Werk(own, schema=schema) as app, jobs.ledger(own, schema) as ledger:
            await ledger.create()
            queues = {group: "ab"[group % 2] for group in range(20)}
            await app.enqueue_many(
                [
                    EnqueueParams(jobs.alone, (0.002,), group=f"group {group}", queue=queues[group])
                    for _ in range(10)
                    for group in queues
                ]
            )
            if processes:
                started = [start_worker(own, **options) for _ in range(3)]
                await tables.until(lambda: None not in [process.exit_code for process in started])
                assert [0, 0, 0] == [process.exit_code for process in started], [process.log for process in started]
            else:
                workers = [AsyncWorker(app, handle_signals=False, **options) for _ in range(3)]
                await asyncio.gather(*(worker.run() for worker in workers))
        assert [("complete", 1, 200)] == await tables.rows(
            "SELECT status, attempts, count(*) FROM {jobs} GROUP BY 1, 2"
        )
        assert 200 == await tables.value("SELECT count(DISTINCT job_id) FROM {schema}.effects")
        assert 0 == await failed_transactions(tables)
        await tables.forget()


# Late settlements


async def lapse(tables: Tables, worker: BaseWorker) -> None:
    """Let the lease of a worker run out that has made its first two heartbeats; the third one is far away."""
    await tables.until(lambda: tables.value("SELECT heartbeat_at > started_at FROM {workers} WHERE id = %s", worker.id))
    await tables.lapse(worker.id)


async def test_late_outcome_is_fenced_off(
    app: Werk, tables: Tables, gates: Gates, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker that lost its lease changes nothing about a job that runs elsewhere by now; the log tells."""
    job = await enqueued(app, jobs.gated, _retry=2)
    async with working(app, concurrency=1) as first:
        await tables.until(lambda: tables.counts_are(active=1))
        await lapse(tables, first)
        assert [job.id] == await app.sweep()
        async with working(app, concurrency=1) as second:
            await tables.until(lambda: tables.counts_are(active=1))
            gates("", 1).set()
            await tables.until(lambda: DROPPED in caplog.text)
            running = await app.get_job(job.id)
            assert (JobStatus.Active, second.id, 2) == (running.status, running.worker_id, running.attempts)
            gates("", 2).set()
            await tables.until(lambda: tables.counts_are(complete=1))
    assert 2 == (await app.get_job(job.id)).result
    assert [(1, "failed"), (2, "complete")] == await history(app, job.id)


async def test_late_outcome_after_the_end_is_fenced_off(
    app: Werk, tables: Tables, gates: Gates, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker that lost its lease changes nothing about a job that another one has completed."""
    job = await enqueued(app, jobs.gated, _retry=2)
    gates("", 2).set()
    async with working(app, concurrency=1) as first:
        await tables.until(lambda: tables.counts_are(active=1))
        await lapse(tables, first)
        assert [job.id] == await app.sweep()
        await AsyncWorker(app, burst=True, handle_signals=False).run()
        complete = await app.get_job(job.id)
        gates("", 1).set()
        await tables.until(lambda: DROPPED in caplog.text)
    assert (JobStatus.Complete, 2) == (complete.status, complete.result)
    assert complete == await app.get_job(job.id)


async def test_rescued_job_comes_back_to_the_same_worker(
    app: Werk, tables: Tables, gates: Gates, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker whose job was rescued may claim it again while it still runs the lost attempt, which does not count."""
    job = await enqueued(app, jobs.gated, _retry=2)
    async with working(app, concurrency=2) as worker:
        await tables.until(lambda: tables.counts_are(active=1))
        await lapse(tables, worker)
        assert [job.id] == await app.sweep()
        await tables.until(lambda: tables.counts_are(active=1))
        gates("", 1).set()
        after = await enqueued(app, handlers.echo)
        await app.wait_for(after.id, timeout=10, poll_interval=0.1)
        assert JobStatus.Active is (await app.get_job(job.id)).status
        gates("", 2).set()
        await tables.until(lambda: tables.counts_are(complete=2), 10)
    assert 2 == (await app.get_job(job.id)).result
    assert [(1, "failed"), (2, "complete")] == await history(app, job.id)
    assert DROPPED in caplog.text
    assert [] == errors(caplog)


async def test_attempt_that_was_given_back_is_fenced_off(app: Werk, tables: Tables) -> None:
    """An attempt that was given back has the number of the next one, and still settles nothing of another worker's."""
    (job_id,) = await many(app, 1)
    connection = await tables.connect()
    (first,) = await tables.claimer().claim(connection, 1)
    back = settle_params([Settlement(first.id, first.worker_id, first.attempts, given_back())])
    await connection.execute(tables.statements["settle"], back)
    (second,) = await tables.claimer().claim(connection, 1)
    assert (1, 1) == (first.attempts, second.attempts)
    for params in (back, settle_params([success(first)])):
        cursor = await connection.execute(tables.statements["settle"], params)
        assert [] == await cursor.fetchall()
    job = await app.get_job(job_id)
    assert (JobStatus.Active, second.worker_id, 1) == (job.status, job.worker_id, job.attempts)


async def test_outcome_that_is_sent_twice_counts_once(
    app: Werk, tables: Tables, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """A settlement that was committed, but whose answer got lost, is sent again, and changes nothing."""
    async with (
        tables.held("complete") as release,
        Werk(proxy.dsn, schema=tables.schema) as distant,
        working(distant),
    ):
        job = await enqueued(app, handlers.echo, "result", _priority=99)
        await tables.until_blocked()
        proxy.deaf = True
        await release()
        await tables.until(lambda: tables.counts_are(complete=1))
        complete = await app.get_job(job.id)
        proxy.cut()
        after = await enqueued(app, handlers.echo)
        await app.wait_for(after.id, timeout=20)
    assert "1 results wait for the database" in caplog.text
    assert ("result", complete) == (complete.result, await app.get_job(job.id))
    assert [(1, "complete")] == await history(app, job.id)
    assert [] == errors(caplog)


async def test_settling_comes_back_for_locked_rows(app: Werk, tables: Tables, gates: Gates) -> None:
    """What another transaction holds does not keep other jobs from being settled, and is settled when it lets go."""
    held, *others = [await enqueued(app, jobs.gated, name) for name in "abc"]
    connection = await tables.connect()
    async with working(app):
        await tables.until(lambda: tables.counts_are(active=3))
        async with connection.transaction():
            await connection.execute(tables.sql("SELECT FROM {jobs} WHERE id = %s FOR UPDATE"), [held.id])
            for name in "abc":
                gates(name).set()
            await tables.until(lambda: tables.counts_are(active=1, complete=2), 10)
            assert JobStatus.Active is (await app.get_job(held.id)).status
        await tables.until(lambda: tables.counts_are(complete=3), 10)
    assert [[(1, "complete")]] * 3 == [await history(app, job.id) for job in (held, *others)]


@pytest.fixture
async def settler(tables: Tables) -> AsyncIterator[Settler]:
    """What settles, as in a worker."""
    session = Session(tables.dsn, silence_secs=1)
    settler = Settler(session, tables.statements, on_settled=lambda _: None)
    settling = asyncio.create_task(settler.run())
    yield settler
    settling.cancel()
    await session.close()


async def test_outcome_of_a_lost_attempt_does_not_displace_the_next_one(
    app: Werk, tables: Tables, settler: Settler
) -> None:
    """While the outcome of a lost attempt is on its way, the same worker may end the next one, which counts."""
    (lost,) = await many(app, 1, retry=2)
    (other,) = await many(app, 1, priority=99)
    connection = await tables.connect()
    claimer = tables.claimer()
    async with tables.held("complete") as release:
        slow, first = await claimer.claim(connection, 2)
        assert (other, lost) == (slow.id, first.id)
        await tables.rows(
            "UPDATE {jobs} SET heartbeat_secs = 1, touched_at = now() - interval '1 h' WHERE id = %s", lost
        )
        assert [lost] == await app.sweep()
        settler.add(success(first))
        settler.add(success(slow))
        await tables.until_blocked()
        (again,) = await claimer.claim(connection, 1)
        assert (lost, 2) == (again.id, again.attempts)
        settler.add(success(again))
        await release()
        await tables.until(lambda: not len(settler), 10)
    assert {"complete": 2} == await tables.counts()
    assert [(1, "complete")] == await history(app, other)


async def test_open_transaction_that_depends_on_a_job_does_not_hold_it_up(
    app: Werk, tables: Tables, gates: Gates
) -> None:
    """A child that is enqueued in a transaction which stays open does not keep its parent from being settled."""
    parent = await enqueued(app, jobs.gated)
    connection = await tables.connect()
    async with working(app):
        await tables.until(lambda: tables.counts_are(active=1))
        async with connection.transaction():
            await app.enqueue(handlers.echo, _depends_on=parent, _conn=connection)
            gates().set()
            await tables.until(lambda: tables.counts_are(complete=1), 10)


# Claims


@pytest.mark.parametrize("queues", [["default"], ["default", "other"]])
async def test_claim_skips_rows_that_others_hold(app: Werk, tables: Tables, queues: list[str]) -> None:
    """A claim does not wait for rows that another transaction has locked; it takes the next best."""
    first, second, third, fourth = await many(app, 4)
    holder, connection = await tables.connect(), await tables.connect()
    async with holder.transaction():
        await holder.execute(tables.sql("SELECT FROM {jobs} WHERE id IN (%s, %s) FOR UPDATE"), [first, third])
        assert [second, fourth] == ids(await tables.claimer(*queues).claim(connection, 2))
    assert [first, third] == ids(await tables.claimer(*queues).claim(connection, 10))


@pytest.mark.parametrize("queues", [["default"], ["default", "other"]])
async def test_two_claims_share_the_head(app: Werk, tables: Tables, queues: list[str]) -> None:
    """Of two claims at once, the second does not wait for the first, and gets what that leaves."""
    first, second, third = await many(app, 3)
    one, two = await tables.connect(), await tables.connect()
    async with one.transaction():
        assert [first, second] == ids(await tables.claimer(*queues).claim(one, 2))
        assert [third] == ids(await tables.claimer(*queues).claim(two, 2))


async def test_burst_does_not_end_while_others_hold_jobs(app: Werk, tables: Tables) -> None:
    """A burst waits for jobs that are ready but locked by somebody else, who may let them go."""
    (job_id,) = await many(app, 1)
    holder = await tables.connect()
    worker = AsyncWorker(app, burst=True, handle_signals=False)
    async with holder.transaction():
        await holder.execute(tables.sql("SELECT FROM {jobs} WHERE id = %s FOR UPDATE"), [job_id])
        burst = asyncio.create_task(worker.run())
        await tables.until(lambda: tables.value("SELECT count(*) FROM {workers}"))
        # It has looked for work, found none, and gone on when the next job is done.
        await many(app, 1)
        await tables.until(lambda: tables.counts_are(queued=1, complete=1))
        assert not burst.done()
    await asyncio.wait_for(burst, 10)
    assert {"complete": 2} == await tables.counts()


async def test_lost_claim_is_given_back(app: Werk, tables: Tables, proxy: Proxy) -> None:
    """A claim that was committed, but whose answer got lost with the connection, costs no attempt and no job."""
    async with (
        tables.held("active") as release,
        Werk(proxy.dsn, schema=tables.schema) as distant,
        working(distant) as worker,
    ):
        job = await enqueued(app, handlers.echo, _priority=99)
        await tables.until_blocked()
        proxy.deaf = True
        await release()
        await tables.until(lambda: tables.counts_are(active=1))
        assert worker.id == (await app.get_job(job.id)).worker_id
        proxy.cut()
        await tables.until(lambda: tables.counts_are(complete=1), 15)
    assert 1 == (await app.get_job(job.id)).attempts
    assert [(1, "complete")] == await history(app, job.id)


async def test_claim_that_is_committed_late_is_given_back(app: Werk, tables: Tables, proxy: Proxy) -> None:
    """A claim that the server commits when its worker has long since reconnected leaves no job active."""
    async with (
        tables.held("active") as release,
        Werk(proxy.dsn, schema=tables.schema) as distant,
        working(distant, heartbeat_interval=0.2, sweep_interval=0.2) as worker,
    ):
        late = await enqueued(app, handlers.echo, _priority=99)
        await tables.until_blocked()
        # The server's session is busy, and does not notice.
        proxy.cut()
        other = await enqueued(app, handlers.echo)
        await tables.until(lambda: tables.counts_are(queued=1, complete=1))
        await release()
        await tables.until(lambda: tables.counts_are(complete=2), 15)
        assert worker.id == (await app.get_job(other.id)).worker_id
    assert 1 == (await app.get_job(late.id)).attempts


async def test_stop_during_a_claim(app: Werk, tables: Tables) -> None:
    """A worker without patience that is stopped in the middle of a claim gives back what it got, and ends."""
    async with tables.held("active") as release:
        job = await enqueued(app, handlers.hang, _priority=99)
        worker = AsyncWorker(app, handle_signals=False, shutdown_timeout=0)
        task = asyncio.create_task(worker.run())
        await tables.until_blocked()
        worker.stop()
        # The worker hears of it before the answer to its claim.
        await asyncio.sleep(0)
        await release()
        await ended(worker, task)
    job = await app.get_job(job.id)
    assert (JobStatus.Queued, 0, None) == (job.status, job.attempts, job.worker_id)
    assert [] == await app.get_executions(job.id)


# Keys


@pytest.mark.parametrize("commits", [True, False])
async def test_key_in_an_open_transaction(app: Werk, tables: Tables, commits: bool) -> None:
    """Enqueueing a key waits for a transaction that has done the same, and gives None if that commits."""
    connection = await tables.connect()
    async with connection.transaction(force_rollback=not commits):
        assert await app.enqueue(handlers.echo, _key="k", _conn=connection) is not None
        second = asyncio.create_task(app.enqueue(handlers.echo, _key="k"))
        await tables.until_blocked()
        assert not second.done()
    job = await asyncio.wait_for(second, 10)
    assert commits == (job is None)
    assert {"queued": 1} == await tables.counts()


async def test_same_keys_in_opposite_order_do_not_deadlock(app: Werk, tables: Tables) -> None:
    """Of two calls with the same keys in opposite order, the one that comes first gets them all."""
    holder = await tables.connect()
    specs = {key: EnqueueParams(handlers.echo, key=key) for key in "amz"}
    async with holder.transaction(force_rollback=True):
        # Both calls get as far as this key, one of them with those before it.
        await app.enqueue(handlers.echo, _key="m", _conn=holder)
        calls = []
        for number, order in enumerate(("zma", "amz"), 1):
            calls.append(asyncio.create_task(app.enqueue_many([specs[key] for key in order])))
            await tables.until_blocked(number)
    first, second = [await asyncio.wait_for(call, 10) for call in calls]
    assert [True, True, True] == [job is not None for job in first]
    assert [None, None, None] == second


# Time to live


@pytest.mark.parametrize("options", [{}, {"group": "g"}])
@pytest.mark.parametrize("queues", [["default"], ["default", "other"]])
async def test_expired_job_is_not_claimed(
    app: Werk, tables: Tables, queues: list[str], options: dict[str, Any]
) -> None:
    """A job whose time to live is over does not start, swept or not, and the one behind it does."""
    late, in_time = await many(app, 2, ttl=60, **options)
    await tables.rows("UPDATE {jobs} SET expires_at = now() WHERE id = %s", late)
    assert [in_time] == ids(await tables.claimer(*queues).claim(await tables.connect(), 10))
    await app.sweep()
    job = await app.get_job(late)
    assert (JobStatus.Aborted, 0) == (job.status, job.attempts)
    assert "expired" in (job.error or "")


async def test_sweep_leaves_a_job_that_is_being_claimed(app: Werk, tables: Tables) -> None:
    """A job whose time is over while a claim of it is being committed has started, and is not aborted."""
    (job_id,) = await many(app, 1, ttl=60)
    await tables.rows("UPDATE {jobs} SET expires_at = clock_timestamp() + interval '0.3 s'")
    connection = await tables.connect()
    async with connection.transaction():
        assert [job_id] == ids(await tables.claimer().claim(connection, 10))
        await tables.until(lambda: tables.value("SELECT expires_at < clock_timestamp() FROM {jobs}"))
        await app.sweep()
    await app.sweep()
    job = await app.get_job(job_id)
    assert (JobStatus.Active, None) == (job.status, job.expires_at)


async def test_claim_leaves_a_job_that_is_being_expired(app: Werk, tables: Tables) -> None:
    """A claim does not wait for a sweep that ends a job, and does not start it afterwards."""
    await many(app, 1, ttl=60)
    await tables.rows("UPDATE {jobs} SET expires_at = now()")
    one, two = await tables.connect(), await tables.connect()
    async with one.transaction():
        late = {job_id: "late" for (job_id,) in await tables.rows("SELECT id::text FROM {jobs}")}
        assert await end_unstarted(tables.sender, one, late, JobStatus.Aborted, expired=True)
        assert [] == await tables.claimer().claim(two, 10)
    assert [] == await tables.claimer().claim(two, 10)
    assert {"aborted": 1} == await tables.counts()


# Leases


async def beat(tables: Tables, sweeper: Sweeper, worker_id: str, running: list[Claimed]) -> None:
    """Make a heartbeat of a worker that believes to run these jobs."""
    unused = Session(tables.dsn, silence_secs=1)
    intervals = {"heartbeat_interval": 10, "sweep_interval": 10}
    lease = Lease(tables.sender, worker_row(worker_id, "async", ["default"], 1, 10, max_active_secs=3600))
    callbacks = Callbacks(
        unused, tables.statements, [], lease_secs=30, on_removable=print, on_postponed=print, on_written=print
    )
    upkeep = Upkeep(
        unused,
        unused,
        sweeper,
        lease,
        running=lambda: running,
        extend_callbacks=callbacks.extend,
        on_rescued=lambda _: None,
        **intervals,
    )
    await upkeep.beat(await tables.connect())


@pytest.fixture
def sweeper(app: Werk, tables: Tables) -> Sweeper:
    """What sweeps, over whichever connection."""
    return Sweeper(tables.sender, Aftermath(tables.sender), app.config, app.serializer)


async def test_heartbeat_extends_nothing_of_another_worker(app: Werk, tables: Tables, sweeper: Sweeper) -> None:
    """A worker whose job was taken over extends neither that job's deadline nor the lease of its new worker."""
    (job_id,) = await many(app, 1, heartbeat=60, retry=3)
    zombie, heir = new_id(), new_id()
    connection = await tables.connect()
    (lost,) = await tables.claimer(worker_id=zombie).claim(connection, 1)
    await beat(tables, sweeper, zombie, [lost])
    await tables.lapse(zombie)
    assert [job_id] == await app.sweep()
    (claimed,) = await tables.claimer(worker_id=heir).claim(connection, 1)
    await beat(tables, sweeper, heir, [claimed])

    before = await app.get_job(job_id)
    await beat(tables, sweeper, zombie, [lost])
    assert before == await app.get_job(job_id)
    await tables.lapse(heir)
    await beat(tables, sweeper, zombie, [lost])
    assert [job_id] == await app.sweep()


async def test_heartbeat_of_its_own_extends_a_deadline(app: Werk, tables: Tables, sweeper: Sweeper) -> None:
    """A worker extends the deadline of a job that it runs; without that, the job is rescued."""
    (job_id,) = await many(app, 1, heartbeat=60, retry=3)
    worker_id = new_id()
    connection = await tables.connect()
    claimed = await tables.claimer(worker_id=worker_id).claim(connection, 1)
    await tables.rows("UPDATE {jobs} SET touched_at = now() - interval '2 min'")
    await beat(tables, sweeper, worker_id, claimed)
    assert [] == await app.sweep()
    await tables.rows("UPDATE {jobs} SET touched_at = now() - interval '2 min'")
    await beat(tables, sweeper, worker_id, [])
    assert [job_id] == await app.sweep()


async def test_two_sweeps_rescue_a_job_once(app: Werk, tables: Tables, sweeper: Sweeper) -> None:
    """While a sweep rescues orphans, another one leaves them alone and does not wait; each orphan is rescued once."""
    orphans, worker_id = await many(app, 20, retry=2), new_id()
    await activate(tables, orphans, worker_id)
    await tables.lapse(worker_id)
    connection = await tables.connect()
    async with connection.transaction():
        assert orphans == sorted(each.job_id for each in await sweeper.rescue(connection))
        assert [] == await app.sweep()
    assert [] == await app.sweep()
    assert {"queued": 20} == await tables.counts()
    assert [[(1, "failed")]] * 20 == [await history(app, job_id) for job_id in orphans]


async def test_sweeps_share_orphans(app: Werk, tables: Tables) -> None:
    """Of more orphans than fit into a batch, several sweeps at once rescue each one once; what was held comes later."""
    orphans, worker_id = await many(app, 1200, retry=2), new_id()
    await activate(tables, orphans, worker_id)
    await tables.lapse(worker_id)
    holder = await tables.connect()
    async with holder.transaction():
        await holder.execute(tables.sql("SELECT FROM {jobs} WHERE id = ANY (%s::uuid[]) FOR UPDATE"), [orphans[:100]])
        shares = await asyncio.gather(app.sweep(), app.sweep(), app.sweep())
    assert orphans[100:] == sorted(job_id for share in shares for job_id in share)
    assert orphans[:100] == sorted(await app.sweep())
    assert [(1, "failed", 1200)] == await tables.rows(
        "SELECT attempt, status, count(*) FROM {executions} GROUP BY 1, 2"
    )


async def test_orphan_that_is_being_settled_is_left_alone(app: Werk, tables: Tables) -> None:
    """A rescue does not wait for the settlement of a worker that comes late, and does not undo it."""
    (job_id,) = await many(app, 1, retry=2)
    one, two = await tables.connect(), await tables.connect()
    (claimed,) = await tables.claimer().claim(one, 1)
    await tables.lapse(claimed.worker_id)
    async with two.transaction():
        await two.execute(tables.statements["settle"], settle_params([success(claimed)]))
        assert [] == await app.sweep()
    assert [] == await app.sweep()
    assert [(1, "complete")] == await history(app, job_id)


async def test_job_of_an_unknown_worker_is_rescued_after_a_lease(app: Werk, tables: Tables) -> None:
    """A job whose worker has no row is an orphan when it has run for longer than a lease."""
    (job_id,) = await many(app, 1, retry=2)
    await activate(tables, [job_id], new_id())
    assert [] == await app.sweep()
    async with Werk(tables.dsn, schema=tables.schema, config={"heartbeat_interval": 0.1}) as impatient:
        await tables.until(impatient.sweep)
    assert [(1, "failed")] == await history(app, job_id)


async def test_losing_every_attempt_fails_the_job(app: Werk, tables: Tables) -> None:
    """A job whose worker is lost in every attempt ends as failed, with each attempt in its history."""
    (job_id,) = await many(app, 1, retry=3)
    connection = await tables.connect()
    for attempt in (1, 2, 3):
        (claimed,) = await tables.claimer().claim(connection, 1)
        assert attempt == claimed.attempts
        await tables.lapse(claimed.worker_id)
        assert [job_id][: 3 - attempt] == await app.sweep()
    job = await app.get_job(job_id)
    assert (JobStatus.Failed, 3) == (job.status, job.attempts)
    assert "its worker was lost" in (job.error or "")
    assert [(1, "failed"), (2, "failed"), (3, "failed")] == await history(app, job_id)
