"""Connections that are dead and do not say so: a worker finds out within a heartbeat, and goes on over new ones."""

from __future__ import annotations

import asyncio
import time

import pytest
from tests import handlers
from tests.worker.conftest import Proxy, Tables, working

from pgwerk import Werk

OPTIONS = {"heartbeat_interval": 2.0, "poll_interval": 0.2}


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
