"""One `Werk` in several event loops, one after the other and at once."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import conninfo
from tests import handlers

from pgwerk import AsyncWorker, Werk


def sessions(dsn: str, name: str) -> int:
    with psycopg.connect(dsn, autocommit=True) as connection:
        (count,) = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [name]
        ).fetchall()[0]
    return int(count)


def test_loops_one_after_the_other_leave_no_pool_behind(dsn: str) -> None:
    """The pool of a loop that is over is closed when the next one opens its own."""
    app = Werk(conninfo.make_conninfo(dsn, application_name="loops"), schema="loops", pool_size=2)
    for _ in range(4):
        assert asyncio.run(app.enqueue(handlers.echo)) is not None
    deadline = threading.Event()
    while sessions(dsn, "loops") > 2:
        assert not deadline.wait(0.05)
    asyncio.run(app.disconnect())


def test_loops_at_once(dsn: str) -> None:
    """Threads that each run a loop of their own can share a client."""
    app = Werk(dsn, schema="loops_at_once", pool_size=2)

    async def enqueue(number: int) -> int:
        job = await app.enqueue(handlers.echo, number)
        await app._connections.close()
        assert job is not None
        assert job.payload is not None
        return int(job.payload["args"][0])

    with ThreadPoolExecutor(8) as threads:
        assert list(range(16)) == list(threads.map(lambda number: asyncio.run(enqueue(number)), range(16)))


@pytest.mark.parametrize("pool_size", [None, 2])
def test_waiting_in_loops_at_once(dsn: str, pool_size: int | None) -> None:
    """Threads that each run a loop of their own can wait for their jobs through one client."""
    app = Werk(dsn, schema="waiting_loops", pool_size=pool_size)
    worker = AsyncWorker(Werk(dsn, schema="waiting_loops"), handle_signals=False)

    async def wait(number: int) -> int:
        result = await app.apply(handlers.echo, number, timeout=30, poll_interval=1000)
        await app._close()
        return int(result)

    with ThreadPoolExecutor(9) as threads:
        working = threads.submit(lambda: asyncio.run(worker.run()))
        try:
            assert list(range(16)) == list(threads.map(lambda number: asyncio.run(wait(number)), range(16)))
        finally:
            worker.stop()
        working.result(30)


@pytest.mark.posix
@pytest.mark.parametrize("after_ms", [0, 5, 10, 15, 20, 30, 40])
def test_interrupt_while_the_pool_opens(dsn: str, after_ms: int) -> None:
    """Ctrl-C while a client connects for the first time ends the program; it does not hang."""
    program = textwrap.dedent(
        """
        import asyncio, sys
        from pgwerk import Werk

        async def main():
            print("ready", flush=True)
            app = Werk(sys.argv[1], schema="interrupted", pool_size=4)
            for _ in range(1000):
                await app.enqueue("tests.handlers.echo")

        asyncio.run(main())
        """
    )
    command = [sys.executable, "-W", "ignore", "-c", program, dsn]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(after_ms / 1000)
        process.send_signal(signal.SIGINT)
        try:
            assert 0 != process.wait(20)
        finally:
            process.kill()
