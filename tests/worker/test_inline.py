"""`_sync` where something goes wrong: the caller is stopped, the database is away, answers are lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests import handlers, inline_handlers
from tests.worker import jobs
from tests.worker.conftest import Proxy, Tables, working

from pgwerk import ExecutionStatus, Job, JobStatus, JSONSerializer, Retry, SyncWerk, Werk

Gates = Callable[..., asyncio.Event]

ROOT = Path(__file__).parents[2]
SHORT_LEASE = {"heartbeat_interval": 0.2}


@pytest.fixture(autouse=True)
def _clean() -> None:
    inline_handlers.calls.clear()
    inline_handlers.release.clear()


async def history(app: Werk, job: Job) -> list[tuple[int, ExecutionStatus]]:
    return [(each.attempt, each.status) for each in await app.get_executions(job.id)]


async def started(tables: Tables, awaitable: Awaitable[Job | None]) -> asyncio.Task[Job | None]:
    """A run that has come as far as its handler."""
    task = asyncio.ensure_future(awaitable)
    await tables.until(lambda: task.done() or tables.counts_are(active=1))
    assert not task.done()
    return task


async def stopped(task: asyncio.Task[Job | None]) -> None:
    """Cancel a run, which has to end in that way."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 30)


# Cancellation


async def test_cancellation_ends_the_job(app: Werk, tables: Tables) -> None:
    """A cancellation reaches the handler, ends the job as aborted, and goes on; nothing is tried again."""
    options: dict[str, Any] = {"_retry": Retry(max=3), "_on_stopped": inline_handlers.told}
    await stopped(await started(tables, app.enqueue(inline_handlers.swallow, _sync=True, **options)))
    (job,) = await app.list_jobs()
    assert (JobStatus.Aborted, 1) == (job.status, job.attempts)
    assert "stopped: CancelledError ended the call that ran the job" == str(job.error).splitlines()[-1]
    assert ["cancelled", ("told", "aborted", job.id)] == inline_handlers.calls
    assert [(1, ExecutionStatus.Aborted)] == await history(app, job)
    assert 0 == await tables.value("SELECT count(*) FROM {workers}")


async def test_timeout_of_the_callers(app: Werk) -> None:
    """A caller's own time-out works as for any other coroutine."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await app.enqueue(handlers.hang, _sync=True)
    assert [JobStatus.Aborted] == [job.status for job in await app.list_jobs()]


async def test_cancellation_waits_for_a_thread(app: Werk, tables: Tables) -> None:
    """A plain function cannot be stopped: a cancellation waits for it, and then ends the job as aborted."""
    task = await started(tables, app.enqueue(inline_handlers.plain_wait_for_release, _sync=True))
    task.cancel()
    await asyncio.sleep(0.1)
    assert not task.done()
    assert {"active": 1} == await tables.counts()
    inline_handlers.release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert {"aborted": 1} == await tables.counts()


async def test_second_cancellation_does_not_wait_for_a_thread(app: Werk, tables: Tables) -> None:
    """Cancelled twice, a run ends the job as aborted at once, and leaves its thread to itself."""
    task = await started(tables, app.enqueue(inline_handlers.plain_wait_for_release, _sync=True, _retry=2))
    task.cancel()
    await asyncio.sleep(0.05)
    await stopped(task)
    assert {"aborted": 1} == await tables.counts()
    inline_handlers.release.set()


async def test_cancellation_while_the_result_is_written(app: Werk, tables: Tables) -> None:
    """When the handler has returned, a cancellation does not take the result away."""
    async with tables.held("complete") as release:
        task = asyncio.ensure_future(app.enqueue(handlers.echo, 1, _sync=True, _priority=99))
        await tables.until_blocked()
        task.cancel()
        await asyncio.sleep(0.1)
        await release()
        with pytest.raises(asyncio.CancelledError):
            await task
    (job,) = await app.list_jobs()
    assert (JobStatus.Complete, 1) == (job.status, job.result)


async def test_cancellation_does_not_wait_for_a_row(
    app: Werk, tables: Tables, caplog: pytest.LogCaptureFixture
) -> None:
    """While somebody holds the row, a cancelled run says that it cannot end the job, and leaves it to its lease."""
    task = await started(tables, app.enqueue(handlers.hang, _sync=True))
    (job,) = await app.list_jobs()
    holder = await tables.connect()
    async with holder.transaction():
        await holder.execute(tables.sql("SELECT FROM {jobs} FOR UPDATE"))
        await stopped(task)
    assert f"job {job.id} was stopped, which cannot be written down: somebody holds its row" in caplog.text
    assert [(job.worker_id,)] == await tables.rows("SELECT id::text FROM {workers}")
    await tables.lapse(str(job.worker_id))
    await app.sweep()
    assert {"failed": 1} == await tables.counts()


async def test_cancellation_in_the_callers_transaction(app: Werk, tables: Tables) -> None:
    """In the caller's transaction, nothing of a run is left that was cancelled, and the transaction goes on."""
    async with await psycopg.AsyncConnection.connect(tables.dsn) as connection:
        inline_handlers.connection = connection
        await connection.execute("CREATE TEMP TABLE before (x integer)")
        for func, args in ((handlers.hang, ()), (inline_handlers.write, ("SELECT pg_sleep(30)",))):
            task = asyncio.ensure_future(app.enqueue(func, *args, _sync=True, _conn=connection))
            await asyncio.sleep(0.2)
            await stopped(task)
        await connection.execute("INSERT INTO before VALUES (1)")
        job = await app.enqueue(handlers.echo, 1, _sync=True, _conn=connection)
        await connection.commit()
    assert [job] == await app.list_jobs()


# Signals


PROGRAMS = {
    "coroutine, asyncio": 'asyncio.run(Werk(*where).enqueue("tests.handlers.hang", _sync=True, _retry=3))',
    "coroutine, blocking": 'SyncWerk(*where).enqueue("tests.handlers.hang", _sync=True, _retry=3)',
    "coroutine, blocking in a loop": """
async def main():
    SyncWerk(*where).enqueue("tests.handlers.hang", _sync=True, _retry=3)
asyncio.run(main())
""",
    "plain, asyncio": 'asyncio.run(Werk(*where).enqueue("tests.handlers.plain_sleep", 1, _sync=True, _retry=3))',
    "plain, blocking": 'SyncWerk(*where).enqueue("tests.handlers.plain_sleep", 30, _sync=True, _retry=3)',
}


@contextlib.contextmanager
def program(text: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A Python program, which does not outlive the test."""
    command = [sys.executable, "-c", text, *arguments]
    # The same pgwerk as in this process, be it installed or not.
    path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, **path}, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.posix
@pytest.mark.parametrize("name", PROGRAMS)
async def test_interrupt(app: Werk, tables: Tables, name: str) -> None:
    """Ctrl-C ends the program, and the job as aborted: it neither stays active nor runs somewhere else later."""
    head = f"""
import asyncio, functools, sys
from pgwerk import SyncWerk as SyncWerk_, Werk as Werk_
where = [sys.argv[1]]
SyncWerk, Werk = (functools.partial(each, schema={app.config.schema!r}) for each in (SyncWerk_, Werk_))
"""
    with program(head + PROGRAMS[name], app.dsn) as process:
        await tables.until(lambda: process.poll() is not None or tables.counts_are(active=1))
        assert process.poll() is None

        def interrupted() -> bool:
            # A loop that is blocked passes on the second one only.
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(3)
            return process.poll() is not None

        await tables.until(interrupted)
        assert process.stderr is not None
        assert "KeyboardInterrupt" in process.stderr.read()
        assert 0 != process.returncode
    (job,) = await app.list_jobs()
    assert (JobStatus.Aborted, 1) == (job.status, job.attempts)
    assert 0 == await tables.value("SELECT count(*) FROM {workers}")


# The database


@pytest.fixture
async def distant(app: Werk, proxy: Proxy) -> AsyncIterator[Werk]:
    """A client whose connections can be cut."""
    async with Werk(proxy.dsn, schema=app.config.schema, config={"heartbeat_interval": 2}) as distant:
        yield distant


async def test_result_waits_for_the_database(
    app: Werk, distant: Werk, proxy: Proxy, tables: Tables, gates: Gates
) -> None:
    """While the database is away, the result waits; it is written down when it is back."""
    task = await started(tables, distant.enqueue(jobs.gated, _sync=True))
    proxy.close()
    gates().set()
    await asyncio.sleep(0.7)
    assert {"active": 1} == await tables.counts()
    proxy.open()
    assert [await task] == await app.list_jobs()
    assert {"complete": 1} == await tables.counts()


async def test_database_that_stays_away(app: Werk, proxy: Proxy, tables: Tables, gates: Gates) -> None:
    """When the database does not come back in time, the caller gets its error, and workers take over."""
    distant = Werk(proxy.dsn, schema=app.config.schema, config=SHORT_LEASE)
    task = await started(tables, distant.enqueue(jobs.gated, _sync=True, _retry=Retry(max=2)))
    proxy.close()
    gates().set()
    with pytest.raises(psycopg.OperationalError):
        await task
    gates(attempt=2).set()
    async with working(app, heartbeat_interval=0.2):
        await tables.until(lambda: tables.counts_are(complete=1))
    (job,) = await app.list_jobs()
    assert (2, 2) == (job.attempts, job.result)


@contextlib.asynccontextmanager
async def commit_lost(tables: Tables, proxy: Proxy, condition: str) -> AsyncIterator[None]:
    """Swallow the answer to the commit that leaves a job like this behind."""
    await tables.rows(
        "CREATE FUNCTION {schema}.at_commit() RETURNS trigger LANGUAGE plpgsql AS $$\n"
        "BEGIN PERFORM pg_advisory_xact_lock_shared(4711, hashtext(TG_TABLE_SCHEMA)); RETURN NULL; END $$"
    )
    await tables.rows(
        "CREATE CONSTRAINT TRIGGER at_commit AFTER UPDATE ON {jobs} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW "
        f"WHEN ({condition}) EXECUTE FUNCTION {{schema}}.at_commit()"
    )
    holder = await tables.connect()
    await holder.execute("SELECT pg_advisory_lock(4711, hashtext(%s))", [tables.schema])
    yield
    await tables.until_blocked()
    proxy.deaf = True
    await holder.execute("SELECT pg_advisory_unlock_all()")
    await tables.rows("ALTER TABLE {jobs} DISABLE TRIGGER at_commit")  # waits for the commit


@pytest.mark.parametrize(
    ("successful", "condition"),
    [
        (2, "NEW.status = 'complete'"),
        (2, "NEW.status = 'active' AND NEW.attempts = 2"),
        (3, "NEW.status = 'failed'"),
    ],
)
async def test_answer_that_is_lost(
    distant: Werk, proxy: Proxy, tables: Tables, successful: int, condition: str
) -> None:
    """When it is not known whether an outcome was written down, the run finds out: no attempt is lost or made twice."""
    callbacks: dict[str, Any] = {"_on_success": inline_handlers.told, "_on_failure": inline_handlers.told}
    async with commit_lost(tables, proxy, condition):
        run = distant.enqueue(inline_handlers.flaky, successful, _sync=True, _retry=Retry(max=2), **callbacks)
        task = asyncio.ensure_future(run)
    proxy.cut()
    job = await asyncio.wait_for(task, 30)
    assert job is not None
    status = "complete" if successful == 2 else "failed"
    assert (status, 2) == (job.status.value, job.attempts)
    assert [("told", status, job.id)] == inline_handlers.calls
    assert [job] == await distant.list_jobs()
    assert [1, 2] == [attempt for attempt, _ in await history(distant, job)]


async def test_cancellation_when_the_result_was_written(distant: Werk, proxy: Proxy, tables: Tables) -> None:
    """Cancelled after its result was written down, which it did not hear, a run still calls the callback that fits."""
    async with commit_lost(tables, proxy, "NEW.status = 'complete'"):
        callbacks: dict[str, Any] = {"_on_success": inline_handlers.told, "_on_stopped": inline_handlers.broken}
        task = asyncio.ensure_future(distant.enqueue(handlers.echo, 1, _sync=True, **callbacks))
    task.cancel()
    await asyncio.sleep(0.1)
    proxy.cut()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 30)
    (job,) = await distant.list_jobs()
    assert (JobStatus.Complete, 1) == (job.status, job.result)
    assert [("told", "complete", job.id)] == inline_handlers.calls


@pytest.mark.parametrize("joined", [False, True])
async def test_result_that_the_server_refuses(app: Werk, dsn: str, joined: bool) -> None:
    """A result beyond a limit of the server fails the job with that error; the caller's transaction goes on."""

    class Deep(JSONSerializer):
        def dumps(self, value: Any) -> str:
            return "[" * 20_000 + "]" * 20_000 if value == "deep" else super().dumps(value)

    deep = Werk(dsn, schema=app.config.schema, serializer=Deep())
    await deep.connect()
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        job = await deep.enqueue(handlers.echo, "deep", _sync=True, _conn=connection if joined else None)
        await connection.execute("SELECT 1")
        await connection.commit()
    assert job is not None
    assert JobStatus.Failed is job.status
    assert "the outcome of the job cannot be stored: StatementTooComplex" in str(job.error)
    assert [job] == await app.list_jobs()


# The flavours


async def test_blocking_client_in_a_loop(app: Werk) -> None:
    """A coroutine handler of a `SyncWerk` runs in another thread when a loop runs in this one, in the same context."""
    blocking = SyncWerk(app.dsn, schema=app.config.schema)
    token = inline_handlers.variable.set("the caller's")
    job = blocking.enqueue(inline_handlers.surroundings, _sync=True)
    inline_handlers.variable.reset(token)
    assert job is not None
    assert ["the caller's", True, "Werk", None, "another thread"] == job.result
    job = blocking.enqueue(handlers.hang, _sync=True, _timeout=1)
    assert job is not None
    assert "JobTimeout" in str(job.error)


@pytest.mark.posix
async def test_interrupt_of_a_blocking_client_in_a_loop(app: Werk) -> None:
    """Ctrl-C while a coroutine runs in another thread cancels the coroutine, and ends the job as aborted."""
    blocking = SyncWerk(app.dsn, schema=app.config.schema)

    def interrupt() -> None:
        if inline_handlers.entered.wait(30):
            os.kill(os.getpid(), signal.SIGINT)

    inline_handlers.entered.clear()
    thread = threading.Thread(target=interrupt)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            blocking.enqueue(inline_handlers.swallow, _sync=True)
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)
    assert ["cancelled"] == inline_handlers.calls
    assert [JobStatus.Aborted] == [job.status for job in await app.list_jobs()]


async def test_where_handlers_run(app: Werk) -> None:
    """A coroutine runs on the loop, a plain function in another thread; from a `SyncWerk`, both in the caller's."""
    blocking = SyncWerk(app.dsn, schema=app.config.schema)
    both = (inline_handlers.surroundings, inline_handlers.plain_surroundings)
    places = [job.result[-1] for func in both if (job := await app.enqueue(func, _sync=True))]
    assert ["main thread", "another thread"] == places
    idents: list[int] = []

    def in_a_thread() -> None:
        idents.append(threading.get_ident())
        for func in (inline_handlers.thread, inline_handlers.plain_thread):
            job = blocking.enqueue(func, _sync=True)
            assert job is not None
            idents.append(job.result)

    await asyncio.to_thread(in_a_thread)
    assert 1 == len(set(idents))


async def test_many_threads(app: Werk, tables: Tables) -> None:
    """Any number of threads run jobs through one `SyncWerk`, with handlers of either kind."""
    blocking = SyncWerk(app.dsn, schema=app.config.schema, pool_size=4)
    funcs = (inline_handlers.enqueue_more, inline_handlers.plain_enqueue_more)

    def run(number: int) -> str:
        job = blocking.enqueue(funcs[number % 2], number, _sync=True, _retry=Retry(max=2))
        assert job is not None
        return job.status.value

    def run_all() -> set[str]:
        with ThreadPoolExecutor(8) as threads:
            return set(threads.map(run, range(32)))

    assert {"complete"} == await asyncio.to_thread(run_all)
    assert {"complete": 32, "queued": 32} == await tables.counts()
    await asyncio.to_thread(blocking.disconnect)


async def test_other_flavour_has_the_same_settings(dsn: str) -> None:
    """The client that handlers of the other flavour get works on the same tables, with the same settings."""
    serializer = JSONSerializer(import_enums=False)
    settings: dict[str, Any] = {
        "config": {"heartbeat_interval": 3},
        "prefix": "p",
        "serializer": serializer,
        "pooler": False,
        "listen_dsn": dsn,
        "allowed_functions": ["tests.*"],
    }
    for client in (Werk(dsn, **settings), SyncWerk(dsn, **settings)):
        other = client._other_flavour()
        assert {Werk, SyncWerk} == {type(client), type(other)}
        assert other is client._other_flavour()
        for name in ("dsn", "config", "serializer", "pooler", "listen_dsn", "allowed_functions"):
            assert getattr(client, name) == getattr(other, name)
