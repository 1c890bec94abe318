"""What a worker does about what it did not foresee: cut claims, refused outcomes, errors of the server and its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import psycopg
import pytest
from psycopg import conninfo
from tests import handlers

from pgwerk import AsyncWorker, EnqueueParams, JobStatus, JSONSerializer, Retry, Werk
from pgwerk._async.connections import Connection
from pgwerk._core.inserts import Settlement
from pgwerk.worker.claiming import Claimer, Turn

DEADLINE = 30


@pytest.fixture
async def app(dsn: str, request: pytest.FixtureRequest) -> AsyncIterator[Werk]:
    """A client with tables of its own."""
    async with Werk(dsn, schema=f"r{abs(hash(request.node.name))}", pool_size=4) as made:
        yield made


async def sql(app: Werk, statement: str) -> list[tuple[Any, ...]]:
    """Send a statement of the test's own; {jobs} and {workers} stand for the tables."""
    tables = {name: f'{app.config.schema}."{app.config.prefix}_{name}"' for name in ("jobs", "workers")}
    # Whatever a test makes the default, these go through.
    writable = "-c default_transaction_read_only=off"
    async with await psycopg.AsyncConnection.connect(app.dsn, autocommit=True, options=writable) as connection:
        cursor = await connection.execute(statement.format(**tables).encode())
        return await cursor.fetchall() if cursor.description else []


async def until(app: Werk, status: JobStatus, count: int = 1) -> None:
    """Wait until so many jobs have a status."""
    deadline = time.monotonic() + DEADLINE
    while len(await app.list_jobs(status=status)) != count:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def burst(app: Werk, **options: Any) -> None:
    await asyncio.wait_for(AsyncWorker(app, handle_signals=False, burst=True, **options).run(), DEADLINE)


class CutOff(Claimer):
    """Claims, but the worker is cancelled before it gets the answer."""

    async def turn_over(self, connection: Connection, limit: int, ends: Sequence[Settlement] = ()) -> Turn:
        await super().turn_over(connection, limit, ends)
        raise asyncio.CancelledError


async def test_claim_that_is_cancelled_is_given_back(app: Werk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelling `run()` in the middle of a claim leaves no job behind."""
    await app.enqueue_many([EnqueueParams(handlers.echo) for _ in range(5)])
    monkeypatch.setattr("pgwerk.worker.engine.Claimer", CutOff)
    with pytest.raises(asyncio.CancelledError):
        await AsyncWorker(app, handle_signals=False).run()
    assert {(JobStatus.Queued, 0)} == {(job.status, job.attempts) for job in await app.list_jobs()}


async def test_jobs_that_were_claimed_but_never_started_are_given_back(
    app: Werk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is stopped while it claims, with no time left, gives back what it has just claimed."""

    class Stopping(Claimer):
        async def turn_over(self, connection: Connection, limit: int, ends: Sequence[Settlement] = ()) -> Turn:
            turn = await super().turn_over(connection, limit, ends)
            worker.stop()
            await asyncio.sleep(0)
            return turn

    await app.enqueue_many([EnqueueParams(handlers.hang) for _ in range(5)])
    monkeypatch.setattr("pgwerk.worker.engine.Claimer", Stopping)
    worker = AsyncWorker(app, handle_signals=False, shutdown_timeout=0)
    await asyncio.wait_for(worker.run(), DEADLINE)
    assert {(JobStatus.Queued, 0)} == {(job.status, job.attempts) for job in await app.list_jobs()}


async def test_own_job_comes_back_while_it_still_runs(app: Werk) -> None:
    """A worker that loses a job and claims it again runs both attempts to their end; the last one counts."""
    await app.enqueue(handlers.stubborn, 1, _retry=Retry(max=5))
    worker = AsyncWorker(app, handle_signals=False, heartbeat_interval=100)
    task = asyncio.create_task(worker.run())
    await until(app, JobStatus.Active)
    await sql(app, "UPDATE {workers} SET heartbeat_at = now() - interval '1 hour', lease_secs = 0.001")
    assert 1 == len(await app.sweep())
    await until(app, JobStatus.Complete)
    worker.stop()
    await asyncio.wait_for(task, DEADLINE)
    (job,) = await app.list_jobs()
    assert (2, "swallowed") == (job.attempts, job.result)


async def test_second_stop_still_gives_back_coroutines(app: Werk) -> None:
    """Asked to stop at once, a worker takes the moment that it needs to give back what it has cancelled."""
    await app.enqueue_many([EnqueueParams(handlers.hang) for _ in range(5)])
    worker = AsyncWorker(app, handle_signals=False)
    task = asyncio.create_task(worker.run())
    await until(app, JobStatus.Active, 5)
    worker.stop()
    worker.stop(now=True)
    await asyncio.wait_for(task, DEADLINE)
    assert {(JobStatus.Queued, 0)} == {(job.status, job.attempts) for job in await app.list_jobs()}


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_encoding_of_the_application_does_not_matter(app: Werk, encoding: str) -> None:
    """Whatever encoding the connection string asks for, every text can be sent and read."""
    odd = Werk(conninfo.make_conninfo(app.dsn, client_encoding=encoding), schema=app.config.schema)
    job = await odd.enqueue(handlers.fail, "zł", _queue="очередь")
    assert job is not None
    await burst(odd, queues=["очередь"])
    assert "zł" in ((await odd.get_job(job.id)).error or "")


async def test_server_limits_fail_the_one_job(app: Werk) -> None:
    """A result beyond a limit of the server fails its job; the others are settled."""

    class Deep(JSONSerializer):
        def dumps(self, value: Any) -> str:
            return "[" * 20_000 + "]" * 20_000 if value == "deep" else super().dumps(value)

    deep = Werk(app.dsn, schema=app.config.schema, serializer=Deep())
    await deep.enqueue_many([EnqueueParams(handlers.echo, (word,)) for word in ("a", "deep", "b")])
    await burst(deep)
    jobs = await app.list_jobs()
    assert [JobStatus.Complete, JobStatus.Failed, JobStatus.Complete] == [job.status for job in jobs]
    assert "stack depth limit" in (jobs[1].error or "")


async def test_read_only_server_is_waited_for(app: Werk) -> None:
    """While the server refuses to write, outcomes wait, and are settled when it writes again."""
    job = await app.enqueue(handlers.stubborn, 0.5)
    assert job is not None
    worker = AsyncWorker(app, handle_signals=False, poll_interval=0.1)
    task = asyncio.create_task(worker.run())
    await until(app, JobStatus.Active)
    database = conninfo.conninfo_to_dict(app.dsn)["dbname"]
    await sql(app, f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    try:
        await sql(
            app,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'pgwerk worker' AND datname = current_database()",
        )
        await asyncio.sleep(1)
        assert not task.done()
    finally:
        await sql(app, f"ALTER DATABASE {database} RESET ALL")
    await sql(
        app,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'pgwerk worker' AND datname = current_database()",
    )
    ended = await app.wait_for(job.id, timeout=DEADLINE)
    worker.stop()
    await asyncio.wait_for(task, DEADLINE)
    assert (JobStatus.Complete, "swallowed", 1) == (ended.status, ended.result, ended.attempts)


async def test_missing_table_is_waited_for(app: Werk) -> None:
    """An error of the server that is nobody's fault of the moment neither ends the worker nor makes it spin."""
    worker = AsyncWorker(app, handle_signals=False, poll_interval=0.1)
    task = asyncio.create_task(worker.run())
    await sql(app, "ALTER TABLE {jobs} RENAME TO elsewhere")
    await asyncio.sleep(0.5)
    await sql(app, f"ALTER TABLE {app.config.schema}.elsewhere RENAME TO " + '"_pgwerk_jobs"')
    assert 1 == await app.apply(handlers.echo, 1, timeout=DEADLINE)
    worker.stop()
    await asyncio.wait_for(task, DEADLINE)


async def test_many_jobs_that_are_due_together(app: Werk) -> None:
    """More due jobs than one promotion takes do not wait for the next poll."""
    await app.enqueue_many([EnqueueParams(handlers.echo, delay=0.2) for _ in range(1200)])
    worker = AsyncWorker(app, handle_signals=False, concurrency=100, poll_interval=1000)
    task = asyncio.create_task(worker.run())
    await until(app, JobStatus.Complete, 100)  # the largest page
    deadline = time.monotonic() + DEADLINE
    while [(1200,)] != await sql(app, "SELECT count(*) FROM {jobs} WHERE status = 'complete'"):
        assert time.monotonic() < deadline
    worker.stop()
    await asyncio.wait_for(task, DEADLINE)


async def test_free_group_behind_many_blocked_ones(app: Werk) -> None:
    """A group whose turn it is gets it, however many groups before it are blocked."""
    specs = [EnqueueParams(handlers.echo, group=f"g{number:03}") for number in range(250)]
    await app.enqueue_many([*specs, *specs, EnqueueParams(handlers.echo, group="zzz")])
    # One of each group but the last one runs elsewhere.
    await sql(
        app,
        "UPDATE {jobs} SET status = 'active', attempts = 1, started_at = now(), worker_id = gen_random_uuid() "
        "WHERE id IN (SELECT DISTINCT ON (group_key) id FROM {jobs} WHERE group_key <> 'zzz' ORDER BY group_key, id)",
    )
    worker = AsyncWorker(app, handle_signals=False, poll_interval=0.1)
    task = asyncio.create_task(worker.run())
    await until(app, JobStatus.Complete)
    assert ["zzz"] == [job.group_key for job in await app.list_jobs(status="complete")]
    worker.stop()
    await asyncio.wait_for(task, DEADLINE)


async def test_group_over_two_queues(app: Werk) -> None:
    """When a job of a group ends, the next one starts at once, also in another queue of the worker."""
    await app.enqueue_many([EnqueueParams(handlers.echo, queue=queue, group="g") for queue in "abab"])
    worker = AsyncWorker(app, ["a", "b"], handle_signals=False, poll_interval=1000)
    task = asyncio.create_task(worker.run())
    await until(app, JobStatus.Complete, 4)
    worker.stop()
    await asyncio.wait_for(task, DEADLINE)
