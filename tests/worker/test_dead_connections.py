"""Connections that are dead and do not say so: a worker finds out within a heartbeat, and goes on over new ones."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import psycopg
import pytest
from tests import handlers
from tests.worker.conftest import Proxy, Tables, ended, working

from pgwerk import AsyncWorker, SyncWerk, Werk
from pgwerk.worker.guarding import Guard
from pgwerk.worker.session import Session

OPTIONS: dict[str, Any] = {"heartbeat_interval": 2.0, "poll_interval": 0.2}


async def test_swallowed_answers(app: Werk, tables: Tables, proxy: Proxy, caplog: pytest.LogCaptureFixture) -> None:
    """When answers are swallowed on the way, the worker cuts its connections within a heartbeat, and works again."""
    async with Werk(proxy.dsn, schema=tables.schema) as distant, working(distant, **OPTIONS):
        await tables.until(lambda: tables.value("SELECT count(*) FROM {workers}"))
        proxy.mute()
        began = time.monotonic()
        await tables.until(lambda: "a connection is dead, and cut off" in caplog.text, 10)
        assert time.monotonic() - began < 2 * OPTIONS["heartbeat_interval"]
        assert 5 == await app.apply(handlers.echo, 5, timeout=20)
    assert "the server has nothing to do for the session" in caplog.text


async def test_listener_that_hears_nothing(
    app: Werk, tables: Tables, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection that only listens is tried now and then, so that a worker is not deaf for longer than that."""
    async with (
        Werk(tables.dsn, schema=tables.schema, listen_dsn=proxy.dsn) as distant,
        working(distant, heartbeat_interval=1.0, poll_interval=60),
    ):
        await tables.until(lambda: app.apply(handlers.echo, 1, timeout=10))
        proxy.mute()
        await tables.until(lambda: "a connection is dead, and cut off" in caplog.text, 10)
        await asyncio.sleep(0.5)
        began = time.monotonic()
        await app.apply(handlers.echo, 2, timeout=10)
        assert time.monotonic() - began < 5


async def test_server_that_takes_its_time(app: Werk, tables: Tables, caplog: pytest.LogCaptureFixture) -> None:
    """A statement that takes long is waited for, as long as the server works on it."""
    async with working(app, heartbeat_interval=0.4), tables.held("active") as release:
        job = await app.enqueue(handlers.echo, 1, _priority=99)
        assert job is not None
        await tables.until_blocked()
        await asyncio.sleep(1.5)
        await release()
        assert 1 == (await app.wait_for(job.id, timeout=10)).result
    assert "dead" not in caplog.text


async def test_dead_from_the_beginning(proxy: Proxy) -> None:
    """A connection that dies before its first statement is an error in time as well."""
    proxy.mutes_after_login = True
    session = Session(proxy.dsn, silence_secs=0.5)
    with pytest.raises(psycopg.OperationalError, match="did not answer within 2 s"):
        async with asyncio.timeout(10), session.use():
            pytest.fail("it cannot be used")


async def test_client_that_takes_its_time(tables: Tables, caplog: pytest.LogCaptureFixture) -> None:
    """A connection over which one statement follows the other is left alone, however long all of them take."""
    session = Session(tables.dsn, silence_secs=1.2)
    guarding = asyncio.create_task(Guard([session], tables.statements, heartbeat_interval=0.4).run())
    async with session.use() as connection:
        for _ in range(15):
            await connection.execute("SELECT")
            await asyncio.sleep(0.1)
    guarding.cancel()
    await session.close()
    assert "dead" not in caplog.text


async def test_server_that_has_forgotten_the_session(
    app: Werk, tables: Tables, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """When the session is gone and its end was not heard, the connection is cut as well."""
    async with Werk(proxy.dsn, schema=tables.schema) as distant, working(distant, **OPTIONS):
        await tables.until(lambda: tables.value("SELECT count(*) FROM {workers}"))
        proxy.mute(ends=True)
        await tables.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'pgwerk worker' AND datname = current_database()"
        )
        await tables.until(lambda: "does not know of the session any more" in caplog.text, 10)
        assert 5 == await app.apply(handlers.echo, 5, timeout=10)


@pytest.mark.parametrize("flavour", [Werk, SyncWerk])
async def test_stop_while_connecting(proxy: Proxy, flavour: type[Werk] | type[SyncWerk]) -> None:
    """A worker that is stopped while its client connects for the first time ends without having begun."""
    async with asyncio.timeout(20):
        proxy.deaf = True
        worker = AsyncWorker(flavour(proxy.dsn, schema="never"), handle_signals=False)
        task = asyncio.create_task(worker.run())
        await asyncio.sleep(0.2)
        worker.stop()
        await ended(worker, task)
        proxy.cut()


@pytest.mark.parametrize("pause", [0, 1])
async def test_stop_while_a_connection_is_dead(app: Werk, tables: Tables, proxy: Proxy, pause: float) -> None:
    """A worker that is told to stop does not wait for answers that are not going to come."""
    async with Werk(proxy.dsn, schema=tables.schema) as distant:
        worker = AsyncWorker(distant, handle_signals=False, poll_interval=0.2, abort_interval=0.2, shutdown_timeout=1)
        task = asyncio.create_task(worker.run())
        await app.apply(handlers.echo, 1, timeout=10)
        proxy.mute()
        await asyncio.sleep(pause)
        began = time.monotonic()
        worker.stop()
        worker.stop(now=True)
        await ended(worker, task)
        assert time.monotonic() - began < 8
