"""Waiters that are cancelled or interrupted: they leave no connection behind, and do not harm those who wait on."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator

import psycopg
import pytest
from psycopg import conninfo
from tests import handlers

from pgwerk import AsyncWorker, EnqueueParams, Job, Werk

SCHEMA = "waiting_interrupted"
DEADLINE_SECS = 20

Count = Callable[[str], int]


@pytest.fixture
def named_dsn(dsn: str) -> str:
    """The DSN of sessions that can be told from others."""
    return conninfo.make_conninfo(dsn, application_name=SCHEMA)


@pytest.fixture
def count(dsn: str) -> Iterator[Count]:
    """Counts the sessions of that name for which something else is true."""
    with psycopg.connect(dsn, autocommit=True) as connection:

        def count(condition: str) -> int:
            query = f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{SCHEMA}' AND {condition}"
            row = connection.execute(query.encode()).fetchone()
            assert row is not None
            return int(row[0])

        yield count


@contextlib.contextmanager
def locked(dsn: str) -> Iterator[None]:
    """Nobody can read the table of the jobs."""
    with psycopg.connect(dsn) as connection:
        connection.execute(f'LOCK TABLE {SCHEMA}."_pgwerk_jobs" IN ACCESS EXCLUSIVE MODE'.encode())
        yield


async def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_SECS
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@pytest.fixture
async def app(named_dsn: str) -> AsyncIterator[Werk]:
    async with Werk(named_dsn, schema=SCHEMA) as app:
        yield app


async def enqueued(app: Werk, number: int) -> list[Job]:
    jobs = await app.enqueue_many([EnqueueParams(handlers.echo, (each,)) for each in range(number)])
    return [job for job in jobs if job is not None]


async def test_cancelled_waiters_leave_no_connection(app: Werk, count: Count) -> None:
    """When all who wait are cancelled, wherever they are, the listener and the looks end."""
    for pause in (0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.2):
        waits = [asyncio.ensure_future(app.wait_for(job.id)) for job in await enqueued(app, 5)]
        await asyncio.sleep(pause)
        for wait in waits:
            wait.cancel()
        outcomes = await asyncio.gather(*waits, return_exceptions=True)
        assert [asyncio.CancelledError] * 5 == [type(outcome) for outcome in outcomes]
    await until(lambda: count("true") == 0)


async def test_others_get_their_results_when_one_is_cancelled(app: Werk, dsn: str, count: Count) -> None:
    """Who is cancelled in the middle of a look does not harm those who wait for it, or for the next one."""
    first, *others = await enqueued(app, 4)
    with locked(dsn):
        cancelled = asyncio.ensure_future(app.wait_for(first.id))
        await until(lambda: count("wait_event_type = 'Lock'") == 1)
        waits = [asyncio.ensure_future(app.wait_for(job.id, poll_interval=1000)) for job in (first, *others)]
        await asyncio.sleep(0)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
    await AsyncWorker(app, handle_signals=False, burst=True).run()
    ended = await asyncio.wait_for(asyncio.gather(*waits), DEADLINE_SECS)
    assert list(range(4)) == [job.result for job in ended]


async def test_look_that_is_cancelled_is_made_again(app: Werk, dsn: str, count: Count) -> None:
    """When something cancels the look itself, who waits for it has another one made."""
    (job,) = await enqueued(app, 1)
    await AsyncWorker(app, handle_signals=False, burst=True).run()
    with locked(dsn):
        wait = asyncio.ensure_future(app.wait_for(job.id))
        await until(lambda: count("wait_event_type = 'Lock'") == 1)
        (look,) = [task for task in asyncio.all_tasks() if task.get_name() == "pgwerk-look"]
        look.cancel()
        await asyncio.wait([look])
    ended = await asyncio.wait_for(wait, DEADLINE_SECS)
    assert 0 == ended.result


def test_loops_that_end(named_dsn: str, count: Count) -> None:
    """A client can wait in one event loop after the other, however the last one ended."""
    app = Werk(named_dsn, schema=SCHEMA)
    (job,) = asyncio.run(enqueued(app, 1))
    for _ in range(3):
        with pytest.raises(TimeoutError):
            asyncio.run(app.wait_for(job.id, timeout=0.1))

    async def leave_waiting() -> None:
        app_waits = asyncio.ensure_future(app.wait_for(job.id))
        await asyncio.sleep(0.05)
        assert not app_waits.done()

    asyncio.run(leave_waiting())
    asyncio.run(AsyncWorker(app, handle_signals=False, burst=True).run())
    assert 0 == asyncio.run(app.wait_for(job.id, timeout=DEADLINE_SECS)).result
    asyncio.run(until(lambda: count("true") == 0))


PROGRAM = """
import asyncio, sys
from pgwerk import SyncWerk, Werk

dsn, schema, job_id = sys.argv[1:]
try:
    {call}
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.stdin.read()
"""
CALLS = {
    "asyncio": "asyncio.run(Werk(dsn, schema=schema).wait_for(job_id))",
    "blocking": "SyncWerk(dsn, schema=schema).wait_for(job_id)",
}


@contextlib.asynccontextmanager
async def program(flavour: str, app: Werk, job: Job) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program that waits for a job, and goes on when that is interrupted, until its standard input is closed."""
    command = [sys.executable, "-W", "error", "-c", PROGRAM.format(call=CALLS[flavour]), app.dsn, SCHEMA, job.id]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def interrupt(process: asyncio.subprocess.Process) -> None:
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert b"interrupted\n" == await asyncio.wait_for(process.stdout.readline(), DEADLINE_SECS)


@pytest.mark.posix
@pytest.mark.parametrize("flavour", CALLS)
async def test_interrupt(app: Werk, count: Count, flavour: str) -> None:
    """Ctrl-C ends the wait, and the program can go on without it: no connection is left."""
    (job,) = await enqueued(app, 1)
    await until(lambda: count("true") == 0)
    async with program(flavour, app, job) as process:
        await until(lambda: count("query LIKE '%LISTEN pgwerk_done%'") == 1)
        await interrupt(process)
        await until(lambda: count("true") == 0)
        assert process.returncode is None


@pytest.mark.posix
@pytest.mark.parametrize("flavour", CALLS)
async def test_interrupt_while_a_look_hangs(app: Werk, dsn: str, count: Count, flavour: str) -> None:
    """Ctrl-C ends the wait at once even if the table is locked; what is left of the look ends with the lock."""
    (job,) = await enqueued(app, 1)
    async with program(flavour, app, job) as process:
        with locked(dsn):
            await until(lambda: count("wait_event_type = 'Lock'") == 1)
            await interrupt(process)
        await until(lambda: count("true") == 0)
        assert process.returncode is None
