"""The client behind PgBouncer in transaction mode, with nothing configured, and LISTEN where it leads nowhere."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import psycopg_pool
import pytest
from psycopg import conninfo
from tests import handlers
from tests._async import _compat
from tests.pgbouncer import SESSIONS, PgBouncer, bouncing

from pgwerk import Dependency, EnqueueParams, JobError, JobStatus, Werk
from pgwerk._async import listening

pytestmark = pytest.mark.posix

CONNECT = """
import asyncio, inspect, sys
import pgwerk

async def main():
    app = getattr(pgwerk, sys.argv[1])(sys.argv[2], schema=sys.argv[3])
    job = app.enqueue("tests.handlers.echo")
    if inspect.isawaitable(job):
        await job

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def bouncer(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PgBouncer]:
    """A pooler with few sessions for many clients."""
    with bouncing(database, tmp_path_factory.mktemp("pgbouncer")) as bouncer:
        yield bouncer


@pytest.fixture
async def app(bouncer: PgBouncer, schema: str) -> AsyncIterator[Werk]:
    """A client that knows nothing of the pooler."""
    async with Werk(bouncer.dsn, schema=schema) as app:
        yield app


def run_at_once(count: int, command: list[str]) -> list[int]:
    """Run so many processes, and give their exit codes."""
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(subprocess.Popen(command)) for _ in range(count)]
        return [process.wait(60) for process in started]


async def listens(dsn: str) -> bool:
    """Whether somebody listens for the end of jobs in the tests' database."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        cursor = await connection.execute(
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%LISTEN pgwerk_done%' "
            "AND pid <> pg_backend_pid()"
        )
        return bool(await cursor.fetchall())


async def until_unused(bouncer: PgBouncer) -> None:
    """Wait until the pooler has no clients."""
    deadline = time.monotonic() + 20
    while bouncer.clients():
        assert time.monotonic() < deadline, bouncer.log
        await _compat.pause()


# What clients do


async def test_jobs_through_a_pooler(app: Werk, bouncer: PgBouncer) -> None:
    """Jobs are enqueued, waited for, read and swept, over sessions that many share."""
    parent = await app.enqueue(handlers.echo, "parent", _key="once")
    assert parent is not None
    assert await app.enqueue(handlers.echo, _key="once") is None
    child = await app.enqueue(handlers.echo, "child", _depends_on=Dependency(parent.id))
    many = await app.enqueue_many([EnqueueParams(handlers.echo, (number,), group="g") for number in range(20)])
    assert child is not None
    assert None not in many
    async with _compat.working(app, poll_interval=0.05):
        assert 5 == await app.apply(handlers.add, 2, b=3, timeout=20, poll_interval=0.05)
        calls = [{"number": number} for number in range(3)]
        assert calls == await app.map(handlers.echo, calls, timeout=20, poll_interval=0.05)
        with pytest.raises(JobError, match="no luck"):
            await app.apply(handlers.fail, "no luck", timeout=20, poll_interval=0.05)
        ended = await app.wait_for(child.id, timeout=20, poll_interval=0.05)
        assert (JobStatus.Complete, "child") == (ended.status, ended.result)
        for job in many:
            assert job is not None
            await app.wait_for(job.id, timeout=20, poll_interval=0.05)
    assert 27 == len(await app.list_jobs())
    assert 1 == len(await app.get_executions(parent.id))
    assert [] == await app.sweep()
    assert bouncer.sessions() <= SESSIONS


async def test_callers_transaction_through_a_pooler(app: Werk, bouncer: PgBouncer) -> None:
    """A job is part of the caller's transaction, also when another session carries each of its transactions."""
    async with await psycopg.AsyncConnection.connect(bouncer.dsn) as connection:
        # The driver itself prepares what it sends for the sixth time, which is not for us to change: none of this is.
        for number in range(12):
            job = await app.enqueue(handlers.echo, number, _conn=connection)
            assert job is not None
            await app.enqueue_many([EnqueueParams(handlers.echo) for _ in range(3)], _conn=connection)
            if number % 2:
                await connection.rollback()
            else:
                await connection.commit()
        assert 5 == connection.prepare_threshold
    assert 6 * 4 == len(await app.list_jobs())


@pytest.mark.parametrize("kind", ["short-lived", "owned", "given"])
async def test_many_clients_share_few_sessions(bouncer: PgBouncer, schema: str, kind: str) -> None:
    """However a client gets its connections, many of them work over the few sessions of the pooler."""
    pool = psycopg_pool.AsyncConnectionPool(bouncer.dsn, min_size=8, max_size=8, open=False)
    await pool.open(wait=True)
    kinds: dict[str, dict[str, Any]] = {"short-lived": {}, "owned": {"pool_size": 8}, "given": {"pool": pool}}
    async with Werk(bouncer.dsn, schema=schema, **kinds[kind]) as app:

        async def use() -> int:
            for _ in range(10):
                job = await app.enqueue(handlers.echo)
                assert job is not None
                await app.get_job(job.id)
            return bouncer.sessions()

        runs = [_compat.spawn(use) for _ in range(16)]
        counts = [await run.result() for run in runs]
        assert max(counts) <= SESSIONS
        assert 160 == len(await app.list_jobs(limit=1000))
    await pool.close()


async def test_what_others_leave_in_a_session_does_not_matter(app: Werk, bouncer: PgBouncer) -> None:
    """Settings that another client of the pooler has left in its sessions change nothing."""
    left = (
        "SET search_path = nowhere; SET timezone = 'Asia/Kathmandu'; SET datestyle = 'SQL, DMY'; "
        "SET intervalstyle = 'sql_standard'; SET bytea_output = 'escape'; SET extra_float_digits = -3; "
        "SET standard_conforming_strings = off; SET lc_messages = 'C'"
    )
    bouncer.in_all_sessions(left)
    payload = {"text": "日本 ünï \\ ' \"", "float": 1 / 3, "when": [1e16, -0.0]}
    job = await app.enqueue(handlers.echo, payload, _queue="日本", _delay=0.01, _meta={"a": "\\"}, _key="it's \\ 日本")
    assert job is not None
    async with _compat.working(app, queues=["日本"], poll_interval=0.05):
        ended = await app.wait_for(job.id, timeout=20, poll_interval=0.05)
    assert payload == ended.result
    assert (job.scheduled_at, job.enqueued_at, job.key) == (ended.scheduled_at, ended.enqueued_at, ended.key)
    assert [job.id] == [each.id for each in await app.list_jobs(search="日本")]


async def test_reset_sessions(database: str, tmp_path: Path, schema: str) -> None:
    """A pooler that resets a session after each transaction is no different."""
    options = {"server_reset_query": "DISCARD ALL", "server_reset_query_always": 1}
    with bouncing(database, tmp_path, **options) as bouncer:
        async with Werk(bouncer.dsn, schema=schema, pool_size=4) as app:
            for number in range(10):
                assert await app.enqueue(handlers.echo, number) is not None
            assert 10 == len(await app.list_jobs())


async def test_pooler_that_is_restarted(database: str, tmp_path: Path, schema: str) -> None:
    """After a restart of the pooler, the next call works, over short-lived connections and with a pool."""
    with bouncing(database, tmp_path) as bouncer:
        async with (
            Werk(bouncer.dsn, schema=schema) as short_lived,
            Werk(bouncer.dsn, schema=schema, pool_size=6) as pooled,
        ):
            for number in range(3):
                for app in (short_lived, pooled):
                    assert await app.enqueue(handlers.echo) is not None
                    assert 2 * number < len(await app.list_jobs())
                bouncer.stop()
                bouncer.start()


async def test_first_connects_through_a_pooler(bouncer: PgBouncer, schema: str) -> None:
    """Of several processes that connect for the first time at once, one migrates, and all can enqueue."""
    assert [0] * 5 == run_at_once(5, [sys.executable, "-c", CONNECT, Werk.__name__, bouncer.dsn, schema])
    assert 5 == len(await Werk(bouncer.dsn, schema=schema).list_jobs())


@pytest.mark.posix
async def test_forked_child_behind_a_pooler(bouncer: PgBouncer, schema: str) -> None:
    """A forked child leaves the parent's clients of the pooler alone."""
    async with Werk(bouncer.dsn, schema=schema, pool_size=2) as app:
        await app.enqueue(handlers.echo, "parent")
        child = os.fork()
        if child == 0:
            _compat.in_forked_child(app.enqueue, handlers.echo, "child")
        assert 0 == _compat.exit_code(child)
        await app.enqueue(handlers.echo, "parent again")
        assert 3 == len(await app.list_jobs())


# What is found out, and said


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    """What was said about the way to the server."""
    return [(each.levelno, each.getMessage()) for each in caplog.records if each.name == "pgwerk.connections"]


async def test_pooler_is_announced_once(
    database: str, tmp_path: Path, schema: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One line of the log says that a pooler was found, what that costs, and what to do about it."""
    caplog.set_level(logging.INFO, "pgwerk")
    with bouncing(database, tmp_path) as bouncer:
        for pool_size in (None, 3, None):
            app = Werk(bouncer.dsn, schema=schema, pool_size=pool_size)
            async with app, _compat.working(app, poll_interval=0.05):
                assert 1 == await app.apply(handlers.plain_echo, 1, timeout=20, poll_interval=0.05)
        ((level, text),) = said(caplog)
        port = conninfo.conninfo_to_dict(bouncer.dsn)["port"]
        assert logging.WARNING == level
        assert f"127.0.0.1:{port}" in text
        assert all(word in text for word in ("poll_interval", "listen_dsn", "pooler=True"))
        caplog.clear()
        async with Werk(bouncer.dsn, schema=schema, listen_dsn=database):
            pass
        ((level, text),) = said(caplog)
        assert (logging.INFO, True) == (level, "listen_dsn" in text)


async def test_nothing_is_said_where_nothing_is_found_out(
    bouncer: PgBouncer, dsn: str, schema: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A direct connection is not worth a line, and neither is what the application has said itself."""
    caplog.set_level(logging.INFO, "pgwerk")
    for app in (Werk(dsn, schema=schema), Werk(bouncer.dsn, schema=schema, pooler=True)):
        async with app:
            assert await app.enqueue(handlers.echo) is not None
    assert [] == said(caplog)


# Listening


@pytest.mark.parametrize("pooler", ["auto", True])
async def test_nobody_listens_through_a_pooler(database: str, tmp_path: Path, schema: str, pooler: Any) -> None:
    """Behind a pooler, who waits or works polls: no LISTEN stays behind in a session that others use."""
    with bouncing(database, tmp_path) as bouncer:
        async with Werk(bouncer.dsn, schema=schema, pooler=pooler) as app:
            job = await app.enqueue(handlers.echo, 1)
            assert job is not None
            waiting = _compat.spawn(app.wait_for, job.id, timeout=20, poll_interval=0.2)
            async with _compat.working(app, poll_interval=0.05):
                ended = await waiting.result()
            assert 1 == ended.result
        await until_unused(bouncer)
        assert [] == bouncer.in_all_sessions("SELECT pg_listening_channels()")


async def test_listening_past_the_pooler(bouncer: PgBouncer, dsn: str, schema: str) -> None:
    """With `listen_dsn`, waiters and workers hear at once what happens, and the rest goes through the pooler."""
    began = time.monotonic()
    async with Werk(bouncer.dsn, schema=schema, listen_dsn=dsn) as app, _compat.working(app, poll_interval=1000):
        assert 1 == await app.apply(handlers.echo, 1, timeout=50, poll_interval=1000)
        assert 2 == await app.apply(handlers.echo, 2, timeout=50, poll_interval=1000)
    assert time.monotonic() - began < 30
    await until_unused(bouncer)


@pytest.fixture
def quick_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notifications that do not arrive are given up sooner."""
    monkeypatch.setattr(listening, "TRIAL_SECS", 1.0)


@pytest.mark.usefixtures("quick_trials")
@pytest.mark.parametrize("way", ["pooler is denied", "listen_dsn leads to it", "listen_dsn leads elsewhere"])
async def test_deaf_connections_are_not_trusted(
    bouncer: PgBouncer, dsn: str, schema: str, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Where LISTEN is accepted and nothing arrives, waiters say so once, poll, and keep no connection for it."""
    caplog.set_level(logging.INFO, "pgwerk.waiting")
    ways: dict[str, dict[str, Any]] = {
        "pooler is denied": {"pooler": False},
        "listen_dsn leads to it": {"listen_dsn": bouncer.dsn},
        "listen_dsn leads elsewhere": {"listen_dsn": conninfo.make_conninfo(dsn, dbname="postgres")},
    }
    async with Werk(bouncer.dsn, schema=schema, **ways[way]) as app:
        jobs = [await app.enqueue(handlers.echo, number) for number in range(2)]
        waits = [_compat.spawn(app.wait_for, job.id, timeout=30, poll_interval=0.1) for job in jobs if job is not None]
        deadline = time.monotonic() + 20
        while not caplog.records:
            assert time.monotonic() < deadline
            await _compat.pause()
        await _compat.burst(app, listen=False)
        ended = [await wait.result() for wait in waits]
        assert [0, 1] == [job.result for job in ended]
        # The next one does not try again, and does not wait for it.
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            await app.apply(handlers.echo, timeout=0.2)
        assert time.monotonic() - began < 2
    assert ["notifications do not arrive, so the end of jobs is looked for every poll_interval"] == [
        each.getMessage() for each in caplog.records
    ]
    await until_unused(bouncer)


@pytest.mark.usefixtures("quick_trials")
async def test_connection_is_trusted_again(
    bouncer: PgBouncer, dsn: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A waiter that polls because nothing arrived tries again later, and hears of what happens then."""
    monkeypatch.setattr(listening, "DISTRUST_SECS", 1.0)
    app = Werk(dsn, schema=schema, listen_dsn=bouncer.dsn)
    job = await app.enqueue(handlers.echo, 1)
    assert job is not None
    waiting = _compat.spawn(app.wait_for, job.id, timeout=60, poll_interval=1000)
    deadline = time.monotonic() + 40
    while not app._listener._doubt.secs > 0:
        assert time.monotonic() < deadline
        await _compat.pause()
    # The way is mended while it waits.
    app._connections.listen_dsn = dsn
    while not await listens(dsn):
        assert time.monotonic() < deadline
        await _compat.pause()
    await _compat.burst(app, listen=False)
    ended = await waiting.result()
    assert 1 == ended.result
    await app.disconnect()
