"""Workers that have nothing to do: what they ask the server all the same, and what they find all the same."""

from __future__ import annotations

import asyncio
import math
import time
from datetime import timedelta

import psycopg
from benchmarks.proxies import LETTERS, CountingProxy, counting_proxy
from tests import handlers
from tests.worker.conftest import Tables, working

from pgwerk import Werk
from pgwerk.worker.engine import PING_SHARE

POLL, HEARTBEAT, SWEEP = 0.1, 0.2, 0.3


def counted(proxy: CountingProxy, tables: Tables) -> dict[str, int]:
    """How many of each statement were sent; by its own text, if it is none of those that an idle worker may send."""
    names = ("look_around", "ping", "heartbeat", "needs_sweep")
    known = {" ".join(tables.statements[name].decode().split())[:LETTERS].strip(): name for name in names}
    return {known.get(text.strip(), text): count for text, count in proxy.counts.items()}


async def test_idle_worker_asks_little(app: Werk, tables: Tables) -> None:
    """An idle worker sends one statement at each poll, one at each heartbeat, one at each sweep, and pings, no more."""
    del app  # it has made the tables
    async with (
        counting_proxy(tables.dsn) as (proxy, dsn),
        Werk(dsn, schema=tables.schema) as distant,
        working(distant, poll_interval=POLL, heartbeat_interval=HEARTBEAT, sweep_interval=SWEEP) as worker,
    ):
        # From then on it hears, and has been connected for one full lease.
        await tables.until(lambda: counted(proxy, tables).get("needs_sweep", 0) >= 2)
        await tables.until(lambda: counted(proxy, tables).get("ping", 0) >= 2)
        # It has just begun to want news, and looks a few times more.
        engine = worker._engine
        assert engine is not None
        await tables.until(lambda: engine._news.look_again_at == math.inf)
        proxy.counts.clear()
        # The last of these looks is over when it polls again.
        await tables.until(lambda: counted(proxy, tables).get("look_around", 0) >= 2)
        proxy.counts.clear()
        began = time.monotonic()
        await tables.until(lambda: counted(proxy, tables).get("heartbeat", 0) >= 10)
        counts, secs = counted(proxy, tables), time.monotonic() - began
    assert {"look_around", "ping", "heartbeat", "needs_sweep"} == set(counts)
    assert counts["look_around"] <= secs / POLL + 1
    assert counts["ping"] <= secs / (PING_SHARE * HEARTBEAT) + 1
    assert counts["heartbeat"] <= secs / HEARTBEAT + 1
    assert counts["needs_sweep"] <= secs / SWEEP + 1


async def test_what_nobody_tells_of_is_found_by_a_poll(app: Werk, tables: Tables) -> None:
    """Jobs and callbacks that appear without a notification are found at a poll."""
    job = await app.enqueue(handlers.echo, 1, _delay=timedelta(hours=1))
    assert job is not None
    async with working(app, poll_interval=POLL, heartbeat_interval=1):
        await tables.until(lambda: tables.value("SELECT count(*) FROM {workers}"))
        await asyncio.sleep(3 * POLL)
        async with await psycopg.AsyncConnection.connect(tables.dsn, autocommit=True) as connection:
            await connection.execute(
                f"UPDATE \"{tables.schema}\"._pgwerk_jobs SET status = 'queued', scheduled_at = now()".encode()
            )
        assert 1 == (await app.wait_for(job.id, timeout=10)).result
