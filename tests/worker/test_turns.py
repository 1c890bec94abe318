"""Claims that settle on the way: no end is lost, settled twice, or left to a claim that does not come."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import psycopg
import pytest
from tests import handlers
from tests.worker import jobs
from tests.worker.conftest import Tables, working

from pgwerk import AsyncWorker, EnqueueParams, ExecutionStatus, JobStatus, JSONSerializer, Repeat, Retry, Werk
from pgwerk._async.connections import Connection
from pgwerk._core.claimed import Claimed
from pgwerk._core.ids import new_id
from pgwerk._core.inserts import Settled, Settlement
from pgwerk._core.policy import Outcome, after_failure
from pgwerk.worker.claiming import Claimer, Turn
from pgwerk.worker.engine import Engine
from pgwerk.worker.looking import look_around
from pgwerk.worker.session import Session
from pgwerk.worker.settling import LARGEST_LOAN, LARGEST_LOAN_CHARACTERS, Settler

Gates = Callable[..., asyncio.Event]

DROPPED = "was dropped"


class Parts:
    """What settles and claims for one worker, to be moved by hand.

    Attributes:
        settler: Settles what nobody else does.
        keys: The attempts that were settled, in this order.
    """

    def __init__(self, tables: Tables, kind: type[Settler] = Settler, **options: Any) -> None:
        self._tables = tables
        self.session = Session(tables.dsn, silence_secs=10)
        self.keys: list[tuple[str, int]] = []
        self.settler = kind(self.session, tables.statements, self._settled, **options)
        self.claimer = tables.claimer()

    def _settled(self, settled: Iterable[Settled]) -> None:
        self.keys += [each.key for each in settled]

    async def claim(self, app: Werk, count: int, **options: Any) -> list[Claimed]:
        """Enqueue jobs, and claim them."""
        await app.enqueue_many([EnqueueParams(handlers.echo, (number,), **options) for number in range(count)])
        return await self.claimer.claim(await self._tables.connect(), count)

    async def turn_over(self, connection: Connection, limit: int = 1) -> Turn:
        """Claim, and settle on the way what is lent, as a worker does."""
        turn = await self.claimer.turn_over(connection, limit, self.settler.lend())
        self.settler.give_back(turn.settled)
        return turn

    @contextlib.asynccontextmanager
    async def settling(self) -> AsyncIterator[None]:
        """Let the settler work, until all is settled in the end."""
        task = asyncio.create_task(self.settler.run())
        try:
            yield
            await self._tables.until(lambda: not len(self.settler), 10)
        finally:
            task.cancel()
            await asyncio.wait([task])
            await self.session.close()


@pytest.fixture
def parts(tables: Tables) -> Parts:
    """The parts of a worker."""
    return Parts(tables)


def success(claimed: Claimed, result: str | None = "1") -> Settlement:
    return Settlement.of(claimed, Outcome(JobStatus.Complete, ExecutionStatus.Complete, result))


def failure(claimed: Claimed) -> Settlement:
    return Settlement.of(claimed, after_failure(claimed, "boom"))


async def statuses(tables: Tables, claimed: Iterable[Claimed]) -> list[str]:
    """The statuses of jobs."""
    ids = [each.id for each in claimed]
    found = dict(await tables.rows("SELECT id::text, status FROM {jobs} WHERE id = ANY (%s::uuid[])", ids))
    return [found[each] for each in ids]


# What settle_complete.sql does


RESULTS = [None, "1", "null", '"null"', '"NULL"', '""', "{}", '{"a": ["\\\\", "\\"", "{x,y}"]}', '"zł"']
OPTIONS: list[dict[str, Any]] = [
    {},
    {"result_ttl": 5},
    {"result_ttl": 1000},
    {"key": "k"},
    {"retry": Retry(max=3)},
    {"failure_mode": "delete"},
    {"on_failure": handlers.echo, "on_stopped": handlers.echo},
    {"meta": {"a": 1}, "timeout": 5, "heartbeat": 5, "priority": 3, "ttl": 1000},
]


async def ended_by(tables: Tables, statement: str, settlement: Settlement) -> tuple[dict[str, Any], ...]:
    """Both rows that a statement leaves of a job, all columns of them, with times since its start."""
    settler = Parts(tables).settler
    connection = await tables.connect()
    async with connection.transaction(force_rollback=True):
        ended = await settler._send(connection, [settlement._replace(is_plain=statement == "settle_complete")])
        assert [settlement.key] == [each.key for each in ended]
        assert [(JobStatus.Complete.value, False, False)] == [(each.status, each.grouped, each.owing) for each in ended]
        rows = []
        for query in (
            "SELECT to_jsonb(r) - 'completed_at' - 'expires_at' "
            "|| jsonb_build_object('kept', expires_at - completed_at) FROM {jobs} r WHERE id = %s",
            "SELECT to_jsonb(r) - 'completed_at' FROM {executions} r WHERE job_id = %s ORDER BY attempt",
        ):
            cursor = await connection.execute(tables.sql(query), [settlement.job_id])
            rows += [row for (row,) in await cursor.fetchall()]
        cursor = await connection.execute(
            tables.sql(
                "SELECT statement_timestamp() - completed_at < interval '10 s' FROM {jobs} WHERE id = %s "
                "UNION "
                "SELECT statement_timestamp() - completed_at < interval '10 s' FROM {executions} WHERE job_id = %s"
            ),
            [settlement.job_id, settlement.job_id],
        )
        assert [(True,)] == await cursor.fetchall()
    return tuple(rows)


@pytest.mark.parametrize("awaited", [False, True])
async def test_lean_statement_does_the_same(app: Werk, tables: Tables, parts: Parts, awaited: bool) -> None:
    """What has simply succeeded leaves the same rows behind, whichever statement settles it."""
    await app.enqueue_many([EnqueueParams(handlers.echo, **options) for options in OPTIONS])
    await tables.rows("UPDATE {jobs} SET result_ttl = NULL WHERE priority = 3")
    await tables.rows("UPDATE {jobs} SET awaited = %s, error = 'old', callback_tries = 2", awaited)
    claimed = await parts.claimer.claim(await tables.connect(), 100)
    assert len(OPTIONS) == len(claimed)
    for each, result in [*((each, "1") for each in claimed), *((claimed[0], result) for result in RESULTS)]:
        settlement = success(each, result)
        assert settlement.is_plain
        expected = await ended_by(tables, "settle", settlement)
        assert 2 == len(expected)
        assert expected == await ended_by(tables, "settle_complete", settlement)


async def test_lean_statement_notifies_the_same(app: Werk, tables: Tables, parts: Parts) -> None:
    """Who waits for jobs hears of their ends in the same notifications, whichever statement settles them."""
    listener = await tables.connect()
    await listener.execute(f"LISTEN {tables.statements.names.done_channel}".encode())
    heard = []
    for is_plain in (True, False):
        claimed = await parts.claim(app, 450)
        awaited = {each.id for each in claimed[::2]}
        await tables.rows("UPDATE {jobs} SET awaited = true WHERE id = ANY (%s::uuid[])", list(awaited))
        ends = [success(each)._replace(is_plain=is_plain) for each in claimed]
        assert 450 == len(await parts.settler._send(await tables.connect(), ends))
        payloads = [each.payload.split(",") async for each in listener.notifies(timeout=10, stop_after=2)]
        assert awaited == {job_id for payload in payloads for job_id in payload}
        heard.append(sorted(map(len, payloads)))
    assert [[25, 200], [25, 200]] == heard


@pytest.mark.parametrize(
    "options",
    [{"on_success": handlers.echo}, {"repeat": Repeat(times=1, interval=0)}],
    ids=lambda options: next(iter(options)),
)
async def test_what_is_followed_by_something_is_not_plain(app: Werk, parts: Parts, options: dict[str, Any]) -> None:
    """From the end of these jobs something follows, which the lean statement does not do."""
    (claimed,) = await parts.claim(app, 1, **options)
    repeat_delay = 0.0 if "repeat" in options else None
    outcome = Outcome(JobStatus.Complete, ExecutionStatus.Complete, "1", repeat_delay=repeat_delay)
    assert not Settlement.of(claimed, outcome).is_plain
    assert not Settlement.of(claimed, outcome._replace(repeat_delay=None), max_memory=1).is_plain
    assert not failure(claimed).is_plain


@pytest.mark.parametrize("is_followed", [True, False])
async def test_end_in_a_group_is_told_to_the_next(app: Werk, tables: Tables, parts: Parts, is_followed: bool) -> None:
    """The lean statement notifies the queue of a group in which another job is ready, and no other one."""
    (claimed,) = await parts.claim(app, 1, group="g")
    if is_followed:
        await app.enqueue(handlers.echo, _group="g")
    end = Settlement.of(claimed, Outcome(JobStatus.Complete, ExecutionStatus.Complete, "1"))
    assert (True, True) == (end.is_plain, end.is_grouped)
    listener, sender = await tables.connect(), await tables.connect()
    channel = tables.statements.names.ready_channel
    await listener.execute(f"LISTEN {channel}".encode())
    parts.settler._pending[end.key] = end
    (settled,) = await parts.settler._send(sender, [end])
    assert settled.grouped
    await sender.execute(f"NOTIFY {channel}, 'over'".encode())
    heard = [each.payload async for each in listener.notifies(timeout=10, stop_after=1 + is_followed)]
    assert [*(["qdefault"] if is_followed else []), "over"] == heard


@pytest.mark.parametrize(
    "change", ["worker_id = gen_random_uuid()", "attempts = attempts + 1", "status = 'failed', completed_at = now()"]
)
async def test_lean_statement_is_fenced(app: Werk, tables: Tables, parts: Parts, change: str) -> None:
    """A job that is another worker's by now, or in another attempt, or over, is left as it is."""
    taken, own = await parts.claim(app, 2)
    await tables.rows(f"UPDATE {{jobs}} SET {change} WHERE id = %s", taken.id)
    row = "SELECT to_jsonb(r) FROM {jobs} r WHERE id = %s"
    before = await tables.value(row, taken.id)
    settled = await parts.settler._send(await tables.connect(), [success(taken), success(own)])
    assert [own.id] == [each.job_id for each in settled]
    assert before == await tables.value(row, taken.id)


# Ends that are not settled at the first try


@pytest.mark.parametrize("lent", [False, True])
async def test_job_to_be_aborted_is_left_to_the_whole_statement(
    app: Werk, tables: Tables, parts: Parts, lent: bool
) -> None:
    """A job that was asked to abort between its end and the settling ends as aborted; the others as they are."""
    claimed = await parts.claim(app, 3)
    for each in claimed:
        parts.settler.add(success(each))
    await tables.rows("UPDATE {jobs} SET status = 'aborting' WHERE id = %s", claimed[1].id)
    if lent:
        turn = await parts.turn_over(await tables.connect())
        assert {claimed[0].id, claimed[2].id} == {job_id for job_id, _ in turn.settled}
    async with parts.settling():
        pass
    assert ["complete", "aborted", "complete"] == await statuses(tables, claimed)
    assert {each.id for each in claimed} == {job_id for job_id, _ in parts.keys}
    assert 3 == len(parts.keys)


@pytest.mark.parametrize("lent", [False, True])
async def test_row_that_is_held_does_not_hold_up_the_others(
    app: Werk, tables: Tables, parts: Parts, lent: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """An end whose row somebody holds waits until he lets go, by itself; no other end waits, and no claim."""
    claimed = await parts.claim(app, 3)
    holder = await tables.connect()
    async with holder.transaction():
        await holder.execute(tables.sql("SELECT FROM {jobs} WHERE id = %s FOR UPDATE"), [claimed[1].id])
        for each in claimed:
            parts.settler.add(success(each))
        await app.enqueue(handlers.echo)
        if lent:
            assert 1 == len((await parts.turn_over(await tables.connect())).claimed)
        async with parts.settling():
            await tables.until(lambda: len(parts.settler) == 1)
            assert ["complete", "active", "complete"] == await statuses(tables, claimed)
            await holder.execute("ROLLBACK")
    assert ["complete"] * 3 == await statuses(tables, claimed)
    assert sorted((each.id, 1) for each in claimed) == sorted(parts.keys)
    assert DROPPED not in caplog.text


async def test_row_that_is_held_is_not_lent_again(app: Werk, tables: Tables, parts: Parts) -> None:
    """What a claim could not settle is no plain end any more, so that the next claims do not try in vain."""
    (claimed,) = await parts.claim(app, 1)
    parts.settler.add(success(claimed))
    holder = await tables.connect()
    async with holder.transaction(force_rollback=True):
        await holder.execute(tables.sql("SELECT FROM {jobs} WHERE id = %s FOR UPDATE"), [claimed.id])
        assert [] == (await parts.turn_over(await tables.connect())).settled
        assert [] == parts.settler.lend()
    async with parts.settling():
        pass
    assert [claimed.id] == [job_id for job_id, _ in parts.keys]


async def test_nothing_is_sent_twice_at_a_time(app: Werk, tables: Tables) -> None:
    """What is lent to a claim, the settler leaves alone meanwhile, and a claim gets nothing that is being settled."""
    going, go_on = asyncio.Event(), asyncio.Event()
    sent: list[str] = []

    class Paused(Settler):
        async def _send(self, connection: Connection, batch: Sequence[Settlement]) -> list[Settled]:
            sent.extend(each.job_id for each in batch)
            going.set()
            await go_on.wait()
            return await super()._send(connection, batch)

    parts = Parts(tables, Paused)
    first, second, third = await parts.claim(app, 3)
    parts.settler.add(success(first))
    assert [first.id] == [each.job_id for each in parts.settler.lend()]
    parts.settler.add(success(second))
    async with parts.settling():
        await going.wait()
        assert [second.id] == sent
        parts.settler.give_back([])
        parts.settler.add(success(third))
        assert [third.id] == [each.job_id for each in parts.settler.lend()]
        parts.settler.give_back([])
        go_on.set()
    assert sorted([first.id, second.id, third.id]) == sorted(sent)


async def test_answer_that_is_lost_is_remembered(app: Werk, tables: Tables, caplog: pytest.LogCaptureFixture) -> None:
    """An end that was settled, and the answer lost, is not said to be dropped, whatever else is settled meanwhile."""
    going, go_on = asyncio.Event(), asyncio.Event()

    class Paused(Settler):
        async def _send(self, connection: Connection, batch: Sequence[Settlement]) -> list[Settled]:
            going.set()
            await go_on.wait()
            return await super()._send(connection, batch)

    parts = Parts(tables, Paused)
    failed, succeeded = await parts.claim(app, 2)
    parts.settler.add(failure(failed))
    async with parts.settling():
        await going.wait()
        parts.settler.add(success(succeeded))
        turn = await parts.claimer.turn_over(await tables.connect(), 1, parts.settler.lend())
        assert [(succeeded.id, 1)] == turn.settled
        parts.settler.give_back(None)
        go_on.set()
    assert ["failed", "complete"] == await statuses(tables, [failed, succeeded])
    assert DROPPED not in caplog.text


async def test_doubt_ends_with_the_end(
    app: Werk, tables: Tables, parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    """A job that was taken away is said to be, also after the answer about another one was lost."""
    lost, taken = await parts.claim(app, 2)
    parts.settler.add(success(lost))
    parts.settler.lend()
    parts.settler.give_back(None)
    await tables.rows("UPDATE {jobs} SET worker_id = %s WHERE id = %s", new_id(), taken.id)
    parts.settler.add(success(taken))
    async with parts.settling():
        pass
    assert [taken.id] == [each.id for each in (lost, taken) if f"at job {each.id} {DROPPED}" in caplog.text]


# What is lent


async def test_many_or_long_ends_are_not_lent(app: Werk, parts: Parts) -> None:
    """Many ends, or long ones, are settled beside the claim, at once."""
    claimed = await parts.claim(app, LARGEST_LOAN + 1)
    for each in claimed[:LARGEST_LOAN]:
        parts.settler.add(success(each))
    assert LARGEST_LOAN == len(parts.settler.lend())
    parts.settler.give_back([])
    parts.settler.add(success(claimed[-1]))
    assert [] == parts.settler.lend()


@pytest.mark.parametrize("characters", [LARGEST_LOAN_CHARACTERS, LARGEST_LOAN_CHARACTERS + 1])
async def test_what_no_claim_takes_is_not_left_to_one(app: Werk, tables: Tables, characters: int) -> None:
    """A result that is too long to go along with a claim does not wait for one; a shorter one does."""
    parts = Parts(tables, leaves_it=lambda: True)
    (claimed,) = await parts.claim(app, 1)
    parts.settler.add(success(claimed, f'"{"x" * (characters - 2)}"'))
    async with parts.settling():
        if characters <= LARGEST_LOAN_CHARACTERS:
            for _ in range(10):
                await asyncio.sleep(0)
            assert 1 == len(parts.settler)
            assert [(claimed.id, 1)] == (await parts.turn_over(await tables.connect())).settled
    assert [(claimed.id, 1)] == parts.keys


# Claims that fail


class Surrogates(JSONSerializer):
    """Makes results that the server refuses, or even the driver."""

    def dumps(self, value: Any) -> str:
        return {"deep": "[" * 20_000 + "]" * 20_000, "odd": '"\ud800"'}.get(value) or super().dumps(value)


@pytest.mark.parametrize("word", ["deep", "odd"])
async def test_refused_result_fails_alone_though_it_was_lent(
    dsn: str, app: Werk, tables: Tables, word: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A claim that fails because of an end which it took along costs that job its result, and nothing else."""
    odd = Werk(dsn, schema=app.config.schema, serializer=Surrogates())
    await app.enqueue_many([EnqueueParams(handlers.echo, (each,)) for each in ("a", word, "b", "c")])
    # One at a time: each claim takes the end of the last job along.
    await asyncio.wait_for(AsyncWorker(odd, handle_signals=False, concurrency=1, burst=True).run(), 20)
    assert [("complete", 1), ("failed", 1), ("complete", 1), ("complete", 1)] == await tables.rows(
        "SELECT status, attempts FROM {jobs} ORDER BY id"
    )
    assert "cannot be stored" in await tables.value("SELECT error FROM {jobs} WHERE status = 'failed'")
    assert DROPPED not in caplog.text


class Cutting(Claimer):
    """Loses its connection during the first claim that takes an end along."""

    is_answer_lost = False
    has_cut = False

    async def turn_over(self, connection: Connection, limit: int, ends: Sequence[Settlement] = ()) -> Turn:
        if not ends or self.has_cut:
            return await super().turn_over(connection, limit, ends)
        type(self).has_cut = True
        if self.is_answer_lost:
            await super().turn_over(connection, limit, ends)
        await connection.close()
        return await super().turn_over(connection, limit, ends)


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize("is_answer_lost", [False, True])
async def test_cut_claim_loses_no_end(
    app: Werk,
    tables: Tables,
    is_answer_lost: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A connection that is lost before or after the server has carried out a claim costs no end, and no attempt."""
    monkeypatch.setattr("pgwerk.worker.engine.Claimer", Cutting)
    monkeypatch.setattr(Cutting, "is_answer_lost", is_answer_lost)
    monkeypatch.setattr(Cutting, "has_cut", False)
    await app.enqueue_many([EnqueueParams(jobs.nap, (0,)) for _ in range(20)])
    await asyncio.wait_for(AsyncWorker(app, handle_signals=False, concurrency=2, burst=True).run(), 20)
    assert Cutting.has_cut
    assert [("complete", 1, 20)] == await tables.rows("SELECT status, attempts, count(*) FROM {jobs} GROUP BY 1, 2")
    assert [("complete", 1, 20)] == await tables.rows(
        "SELECT status, attempt, count(*) FROM {executions} GROUP BY 1, 2"
    )
    assert 20 == await tables.value("SELECT count(*) FROM {schema}.effects")
    assert DROPPED not in caplog.text
    assert 1 == sum("claim failed" in record.getMessage() for record in caplog.records)


# Claims that do not come


def engine_of(worker: Any) -> Engine:
    """The engine of a worker that runs."""
    engine = worker._engine
    assert isinstance(engine, Engine)
    return engine


class Held:
    """Holds up the claim loop before its next claim."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_armed = False
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()

        async def look(*args: Any) -> Any:
            if self.is_armed:
                self.reached.set()
                await self.go_on.wait()
            return await look_around(*args)

        monkeypatch.setattr("pgwerk.worker.engine.look_around", look)


async def left_to_a_claim(engine: Engine, held: Held, gates: Gates) -> None:
    """Have a job end while the claim that is to settle it is about to be sent."""
    held.is_armed = True
    engine._on_due()
    await held.reached.wait()
    engine._on_ready()
    gates().set()
    for _ in range(50):
        await asyncio.sleep(0)
    assert (1, 0) == (len(engine._settler), len(engine._runs))


@pytest.mark.parametrize("how", ["stopped", "stopped at once", "cancelled"])
async def test_worker_that_ends_leaves_nothing_to_a_claim(
    app: Werk, tables: Tables, gates: Gates, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An end that waits for a claim is settled although the worker stops, or is cancelled, before that is sent."""
    held = Held(monkeypatch)
    await app.enqueue(jobs.gated)
    worker = AsyncWorker(app, handle_signals=False, listen=False, poll_interval=1000, shutdown_timeout=5)
    task = asyncio.create_task(worker.run())
    await tables.until(lambda: tables.counts_are(active=1))
    await left_to_a_claim(engine_of(worker), held, gates)
    if how == "cancelled":
        task.cancel()
    else:
        worker.stop(now=how == "stopped at once")
        held.go_on.set()
    await asyncio.wait([task], timeout=10)
    assert task.done()
    assert (how == "cancelled") == task.cancelled()
    assert await tables.counts_are(complete=1)
    assert 0 == await tables.value("SELECT count(*) FROM {workers}")


async def test_claim_that_comes_settles_what_was_left_to_it(
    app: Werk, tables: Tables, gates: Gates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An end waits for the claim that is about to be sent, and is settled by it."""
    held = Held(monkeypatch)
    await app.enqueue(jobs.gated)
    async with working(app, listen=False, poll_interval=1000) as worker:
        await tables.until(lambda: tables.counts_are(active=1))
        await left_to_a_claim(engine_of(worker), held, gates)
        held.go_on.set()
        await tables.until(lambda: tables.counts_are(complete=1))


@pytest.mark.parametrize("how", ["the lease is lost", "callbacks take all slots", "the loop fails"])
async def test_claim_that_is_not_sent_leaves_no_end_behind(
    app: Werk, tables: Tables, gates: Gates, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An end that was left to a claim is settled without one when it turns out that none can be sent."""
    held = Held(monkeypatch)
    await app.enqueue(jobs.gated)
    async with working(app, listen=False, poll_interval=1000) as worker:
        await tables.until(lambda: tables.counts_are(active=1))
        engine = engine_of(worker)
        await left_to_a_claim(engine, held, gates)
        if how == "the lease is lost":
            engine._upkeep._beaten_at = float("-inf")
        elif how == "callbacks take all slots":
            # From the moment on at which they have started.
            monkeypatch.setattr(engine, "_free_slots", lambda: 0)
        else:
            monkeypatch.setattr(engine, "_take_callbacks", fail)
        held.go_on.set()
        await tables.until(lambda: tables.counts_are(complete=1), 5)


async def fail() -> None:
    raise psycopg.OperationalError("not now")


async def test_lease_that_comes_back_wakes_the_claims(
    app: Werk, tables: Tables, gates: Gates, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker that slept because it had lost its lease claims when it has it again, if ends were left to the claim."""
    caplog.set_level(logging.WARNING, "pgwerk.worker")
    send = Settler._send
    is_away = True

    async def refuse(settler: Settler, connection: Connection, batch: Sequence[Settlement]) -> list[Settled]:
        if is_away:
            raise psycopg.OperationalError("away")
        return await send(settler, connection, batch)

    monkeypatch.setattr(Settler, "_send", refuse)
    await app.enqueue(jobs.gated)
    async with working(app, listen=False, poll_interval=1000) as worker:
        await tables.until(lambda: tables.counts_are(active=1))
        engine = engine_of(worker)
        engine._upkeep._beaten_at = float("-inf")
        engine._on_ready()
        gates().set()
        await tables.until(lambda: "results wait for the database" in caplog.text)
        is_away = False
        engine._upkeep.beaten()
        await tables.until(lambda: tables.counts_are(complete=1), 5)
