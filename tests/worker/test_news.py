"""Workers are notified of new jobs while they want to be, and are never left asleep."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import psycopg
import pytest
from tests import handlers
from tests.worker import jobs
from tests.worker.conftest import Tables, working
from tests.worker.entry import WorkerProcess

from pgwerk import BaseWorker, EnqueueParams, SyncWerk, Werk
from pgwerk.worker import news
from pgwerk.worker.news import BUSY_SECS, LOOK_AGAIN_SECS, News

WANTED = "SELECT count(*) FROM {workers} WHERE wants_news"
NO_POLLS: dict[str, Any] = {"poll_interval": 60, "sweep_interval": 60, "concurrency": 1}

Enqueue = Callable[[str], Awaitable[object]]


# What a worker says, and when


def test_worker_says_once_that_it_is_idle() -> None:
    """A worker that is idle most of the time has nothing to say for the jobs that come, one at a time."""
    state = News()
    assert state.change(0, finds_work=False, is_hearing=True)
    said(state, 0, True)
    for now in range(1, 10):
        # With a single slot, each of them is all that it asked for.
        assert state.change(now, finds_work=True, is_hearing=True) is None
        assert state.change(now + 0.2, finds_work=False, is_hearing=True) is None


def test_busy_worker_wants_no_news() -> None:
    """A worker whose claims find all they ask for says so after a while, once, and the contrary when that is over."""
    state = News()
    said(state, 0, True)
    assert [None, None, False] == [
        state.change(now, finds_work=True, is_hearing=True) for now in (10, 10 + BUSY_SECS / 2, 10 + BUSY_SECS)
    ]
    said(state, 11, False)
    assert state.change(20, finds_work=True, is_hearing=True) is None
    assert state.change(21, finds_work=False, is_hearing=True)


def test_worker_that_hears_nothing_wants_nothing() -> None:
    """A worker that only polls never asks to be notified."""
    assert News().change(0, finds_work=False, is_hearing=False) is None


def test_worker_looks_again_after_it_has_asked() -> None:
    """For a while after it has said that it wants news, a worker looks again, each time once."""
    state = News()
    assert float("inf") == state.look_again_at
    said(state, 100, True)
    for secs in LOOK_AGAIN_SECS:
        assert 100 + secs == state.look_again_at
        assert not state.has_to_look_again(100 + secs - 0.001)
        assert state.has_to_look_again(100 + secs)
    assert float("inf") == state.look_again_at


def test_failed_change_leaves_a_worker_that_asks_again() -> None:
    """A worker that does not know whether it will be notified takes it that it will not."""
    state = News()
    said(state, 0, True)
    state.is_going_to_change(False)
    assert state.change(1, finds_work=False, is_hearing=True)
    state.is_going_to_change(True)
    assert state.change(1, finds_work=False, is_hearing=True)


def test_row_that_has_forgotten() -> None:
    """A worker finds out, once, that its row does not say any more what it wants."""
    state = News()
    assert not state.is_forgotten(False)
    said(state, 0, True)
    assert not state.is_forgotten(True)
    assert state.is_forgotten(False)
    assert not state.is_forgotten(False)
    assert state.change(1, finds_work=False, is_hearing=True)


def said(state: News, now: float, wants_news: bool) -> None:
    """The worker has said what it wants."""
    state.is_going_to_change(wants_news)
    state.has_changed(now, wants_news)


# Workers


@pytest.fixture
def no_second_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing wakes a worker but what it hears, and a worker with all slots taken is busy at once."""
    monkeypatch.setattr(news, "LOOK_AGAIN_SECS", ())
    monkeypatch.setattr(news, "BUSY_SECS", 0)


@pytest.fixture(params=["async", "async with a pool", "sync", "sync with a pool"])
async def enqueue(request: pytest.FixtureRequest, app: Werk) -> AsyncIterator[Enqueue]:
    """Enqueues a job that leaves a mark, in every way to do so."""
    options: dict[str, Any] = {"schema": app.config.schema}
    if "pool" in request.param:
        options["pool_size"] = 2
    if "sync" == request.param[:4]:
        with SyncWerk(app.dsn, **options) as blocking:
            yield lambda mark: asyncio.to_thread(blocking.enqueue, handlers.echo, mark)
    else:
        async with Werk(app.dsn, **options) as other:
            yield lambda mark: other.enqueue(handlers.echo, mark)


@pytest.mark.usefixtures("no_second_looks")
async def test_idle_worker_is_woken(tables: Tables, app: Werk, enqueue: Enqueue) -> None:
    """A worker that has been asleep starts a job at once, however long its poll interval is."""
    async with working(app, **NO_POLLS) as worker:
        for number in range(1, 4):
            await tables.until(lambda: is_asleep(worker))
            await enqueue("idle")
            await tables.until(functools.partial(tables.counts_are, complete=number), 5)
    assert 0 == await tables.value(WANTED)


@pytest.mark.usefixtures("no_second_looks")
async def test_worker_that_was_busy_is_woken(
    tables: Tables, app: Werk, enqueue: Enqueue, gates: Callable[..., asyncio.Event]
) -> None:
    """A worker that has been busy, and wanted no news, starts a job at once when it is asleep again."""
    async with working(app, **NO_POLLS) as worker:
        await keep_busy(app, tables, worker)
        await enqueue("unheard")
        gates().set()
        await tables.until(lambda: tables.counts_are(complete=2), 5)
        await tables.until(lambda: is_asleep(worker))
        await enqueue("heard")
        await tables.until(lambda: tables.counts_are(complete=3), 5)


@pytest.mark.usefixtures("no_second_looks")
async def test_commit_that_comes_just_before_a_worker_wants_news(
    tables: Tables, app: Werk, gates: Callable[..., asyncio.Event]
) -> None:
    """A worker looks for work once more when it has said that it wants news: what came before was not notified."""
    async with working(app, **NO_POLLS) as worker, hearing(tables) as heard:
        await keep_busy(app, tables, worker)
        await heard()
        holder = await tables.connect()
        async with holder.transaction():
            await holder.execute(tables.sql("SELECT FROM {workers} FOR UPDATE"))
            gates().set()
            await tables.until_blocked()
            await app.enqueue(handlers.echo)
        await tables.until(lambda: tables.counts_are(complete=2), 5)
        assert [] == await heard()


async def test_jobs_one_after_the_other_with_no_polls(app: Werk, monkeypatch: pytest.MonkeyPatch) -> None:
    """However jobs meet workers that become busy and idle all the time, none of them waits for a poll."""
    monkeypatch.setattr(news, "BUSY_SECS", 0)

    async def enqueue_some() -> None:
        for number in range(30):
            assert number == await app.apply(handlers.echo, number, timeout=10)

    async with working(app, **NO_POLLS), working(app, **NO_POLLS):
        await asyncio.gather(*[enqueue_some() for _ in range(4)])


async def test_commit_that_comes_after_the_last_look(
    tables: Tables, app: Werk, gates: Callable[..., asyncio.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job whose insert began before the worker wanted news, and ended after it looked, is found by the next look."""
    monkeypatch.setattr(news, "LOOK_AGAIN_SECS", (2.0,))
    monkeypatch.setattr(news, "BUSY_SECS", 0)
    async with working(app, **NO_POLLS) as worker, hearing(tables) as heard:
        await keep_busy(app, tables, worker)
        async with held_inserts(tables):
            enqueuing = asyncio.create_task(app.enqueue(handlers.echo))
            await tables.until_blocked()
            gates().set()
            await tables.until(lambda: is_asleep(worker))
            await heard()
        await enqueuing
        assert [] == await heard()
        await tables.until(lambda: tables.counts_are(complete=2), 10)


@pytest.mark.usefixtures("no_second_looks")
async def test_busy_worker_is_not_notified(tables: Tables, app: Werk, gates: Callable[..., asyncio.Event]) -> None:
    """Nobody notifies a queue whose workers are busy, but for what may be committed much later."""
    connection = await tables.connect()
    async with working(app, **NO_POLLS) as worker, hearing(tables) as heard:
        await keep_busy(app, tables, worker)
        await heard()
        await app.enqueue(handlers.echo)
        await app.enqueue(handlers.echo, _key="a key")
        await app.enqueue_many([EnqueueParams(handlers.echo) for _ in range(3)])
        await app.enqueue_many([EnqueueParams(handlers.echo, key=f"key {number}") for number in range(3)])
        assert [] == await heard()
        async with connection.transaction():
            await app.enqueue(handlers.echo, _conn=connection)
        assert ["qdefault"] == await heard()
        await app.enqueue_many([EnqueueParams(handlers.echo) for _ in range(101)])
        assert ["qdefault"] == await heard()
        await app.enqueue(handlers.echo, _delay=3600)
        assert ["d"] == [payload[:1] for payload in await heard()]
        gates().set()


@pytest.mark.usefixtures("no_second_looks", "gates")
async def test_idle_worker_beside_a_busy_one(tables: Tables, app: Werk) -> None:
    """A queue is notified as long as any of its workers wants it, and only that queue is."""
    async with working(app, **NO_POLLS) as busy, hearing(tables) as heard:
        await keep_busy(app, tables, busy)
        async with working(app, queues=["other", "default"], **NO_POLLS) as idle:
            await tables.until(lambda: is_asleep(idle))
            await heard()
            await app.enqueue(handlers.echo)
            await app.enqueue(handlers.echo, _queue="third")
            assert ["qdefault"] == await heard()
            await tables.until(lambda: tables.counts_are(complete=1, active=1, queued=1), 5)
        jobs.gate().set()


@pytest.mark.posix
async def test_killed_worker_is_notified_until_a_sweep(
    tables: Tables, app: Werk, start_worker: Callable[..., WorkerProcess]
) -> None:
    """A worker that died while it wanted news costs notifications, and no more once a sweep has found it lost."""
    process = start_worker(**NO_POLLS)
    await tables.until(lambda: tables.value(WANTED))
    os.kill(process.pid, signal.SIGKILL)
    await tables.until(
        lambda: tables.value("SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = %s", process.name)
    )
    async with hearing(tables) as heard:
        await app.enqueue(handlers.echo)
        assert ["qdefault"] == await heard()
        await app.sweep()
        assert 1 == await tables.value(WANTED)
        (worker,) = await app.list_workers()
        await tables.lapse(worker.id)
        await app.sweep()
        assert [worker.id] == [left.id for left in await app.list_workers()]
        await app.enqueue(handlers.echo)
        assert [] == await heard()


@pytest.mark.usefixtures("no_second_looks")
@pytest.mark.parametrize("loss", ["DELETE FROM {workers}", "UPDATE {workers} SET wants_news = false"])
async def test_row_that_is_gone_comes_back(tables: Tables, app: Werk, loss: str) -> None:
    """A worker whose row was lost, as in a crash, wants news again with a heartbeat, and finds what came meanwhile."""
    async with working(app, heartbeat_interval=0.5, **NO_POLLS) as worker, hearing(tables) as heard:
        await tables.until(lambda: is_asleep(worker))
        await tables.rows(f"BEGIN; {loss}; COMMIT")
        await app.enqueue(handlers.echo)
        await tables.until(lambda: tables.counts_are(complete=1), 5)
        await tables.until(lambda: tables.value(WANTED))
        await tables.until(lambda: is_asleep(worker))
        await heard()
        await app.enqueue(handlers.echo)
        assert ["qdefault"] == await heard()


async def test_worker_that_does_not_listen_wants_no_news(tables: Tables, app: Werk) -> None:
    """A worker that only polls is not notified."""
    async with working(app, listen=False, poll_interval=0.1), hearing(tables) as heard:
        assert 1 == await app.apply(handlers.echo, 1, timeout=10)
        assert 0 == await tables.value(WANTED)
        assert [] == await heard()


def is_asleep(worker: BaseWorker) -> bool:
    """Whether a worker has said that it wants news, and has looked for work after that."""
    engine = worker._engine
    return engine is not None and engine._news._is_wanted and not engine._may_find_work and not engine._runs


async def keep_busy(app: Werk, tables: Tables, worker: BaseWorker) -> None:
    """Have a worker run a job in its only slot, so that it wants no news."""
    await tables.until(lambda: is_asleep(worker))
    await app.enqueue(jobs.gated)
    await tables.until(lambda: tables.counts_are(active=1))
    await tables.until(lambda: tables.value("SELECT NOT wants_news FROM {workers} WHERE id = %s", worker.id))


@contextlib.asynccontextmanager
async def hearing(tables: Tables) -> AsyncIterator[Callable[[], Awaitable[list[str]]]]:
    """Listen to what workers hear; gives a function for what was heard since it was called last."""
    channel = tables.statements.names.ready_channel
    connection = await tables.connect()
    await connection.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(channel)))

    async def heard() -> list[str]:
        payloads: list[str] = []
        await connection.execute("SELECT pg_notify(%s, 'that is all')", [channel])
        async for notification in connection.notifies(timeout=10):
            if notification.payload == "that is all":
                break
            payloads.append(notification.payload)
        return payloads

    yield heard


@contextlib.asynccontextmanager
async def held_inserts(tables: Tables) -> AsyncIterator[None]:
    """Inserts of jobs wait, when their statements have begun, until this is over."""
    await tables.rows(
        "CREATE FUNCTION {schema}.hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "PERFORM pg_advisory_xact_lock_shared(4712, hashtext('{schema}')); RETURN new; END $$"
    )
    await tables.rows("CREATE TRIGGER hold BEFORE INSERT ON {jobs} FOR EACH ROW EXECUTE FUNCTION {schema}.hold()")
    holder = await tables.connect()
    await holder.execute(tables.sql("SELECT pg_advisory_lock(4712, hashtext('{schema}'))"))
    try:
        yield
    finally:
        await holder.execute("SELECT pg_advisory_unlock_all()")
