"""How handlers start: in rounds, and on Python 3.12 and newer with their first step taken at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from tests import handlers
from tests.worker import first_steps, jobs
from tests.worker.conftest import Tables, ended, working

from pgwerk import AsyncWorker, EnqueueParams, Werk
from pgwerk._async.connections import Connection
from pgwerk._core.inserts import Settlement
from pgwerk.worker.calling import Callbacks
from pgwerk.worker.claiming import Claimer, Turn
from pgwerk.worker.execution import Interruption
from pgwerk.worker.runs import AT_ONCE


@pytest.fixture(autouse=True)
def seen() -> Iterator[list[str]]:
    """What has run."""
    first_steps.seen.clear()
    yield first_steps.seen
    first_steps.seen.clear()


async def burst(app: Werk, **options: Any) -> None:
    await asyncio.wait_for(AsyncWorker(app, handle_signals=False, burst=True, **options).run(), 20)


async def results(tables: Tables) -> list[Any]:
    """The results of all jobs, in their order."""
    return [row[0] for row in await tables.rows("SELECT result FROM {jobs} ORDER BY priority DESC, id")]


async def test_handler_has_a_task_of_its_own(app: Werk, tables: Tables) -> None:
    """From its first step on, a handler runs in a task of its own, as any other coroutine."""
    await app.enqueue_many([EnqueueParams(first_steps.whose_task) for _ in range(3)])
    await burst(app)
    assert [[True, True, True]] * 3 == await results(tables)


@pytest.mark.parametrize("waits", [False, True])
async def test_context_is_not_shared(app: Werk, tables: Tables, waits: bool) -> None:
    """What a handler sets in its context is seen by no other handler, nor by the worker."""
    await app.enqueue_many([EnqueueParams(first_steps.leave_a_variable, (number, waits)) for number in range(5)])
    await burst(app, concurrency=2)
    ids = [row[0] for row in await tables.rows("SELECT id::text FROM {jobs} ORDER BY id")]
    assert [["nothing", each] for each in ids] == await results(tables)
    assert "nothing" == first_steps.left.get()


async def test_time_outs_and_groups_work_in_the_first_step(app: Werk, tables: Tables) -> None:
    """`asyncio.timeout` and `TaskGroup` may be entered before a handler has ever waited."""
    for func in (first_steps.time_out_at_once, first_steps.use_a_group, first_steps.fail_in_a_group):
        await app.enqueue(func)
    await burst(app)
    assert ["timed out", [0, 1, 2], "went on"] == await results(tables)


@pytest.mark.parametrize("name", ["SystemExit", "KeyboardInterrupt", "CancelledError", "GeneratorExit"])
async def test_what_is_raised_at_once_ends_the_job_alone(app: Werk, tables: Tables, name: str) -> None:
    """Whatever a handler raises in its first step ends its job, once, and neither the worker nor the jobs beside it."""
    await app.enqueue_many(
        [EnqueueParams(handlers.echo, (1,)), EnqueueParams(jobs.surprise, (name,)), EnqueueParams(handlers.echo, (2,))]
    )
    await burst(app)
    assert [("complete", 1), ("failed", 1), ("complete", 1)] == await tables.rows(
        "SELECT status, attempts FROM {jobs} ORDER BY id"
    )


@pytest.mark.parametrize(("then", "status"), [("return", "complete"), ("wait", "failed")])
async def test_handler_that_cancels_its_own_task(app: Werk, tables: Tables, then: str, status: str) -> None:
    """A handler that cancels itself ends as it ends: it is not taken for one that the worker has stopped."""
    await app.enqueue(first_steps.cancel_own_task, then)
    await app.enqueue(handlers.echo, 1)
    async with working(app):
        await tables.until(lambda: tables.value("SELECT bool_and(status NOT IN ('queued', 'active')) FROM {jobs}"), 10)
    assert [(status, 1), ("complete", 1)] == await tables.rows("SELECT status, attempts FROM {jobs} ORDER BY id")


async def test_handler_that_blocks_at_once_is_named(
    app: Werk, tables: Tables, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A handler that blocks the loop in its first step is named by the watchdog, with the place where it is."""
    monkeypatch.setattr("pgwerk.worker.watchdog.BLOCKED_SECS", 0.2)
    monkeypatch.setattr("pgwerk.worker.watchdog.LONGEST_PAUSE_SECS", 0.1)
    caplog.set_level(logging.WARNING, "pgwerk.worker")
    job = await app.enqueue(first_steps.block, 0.8)
    assert job is not None
    async with working(app):
        await tables.until(lambda: tables.counts_are(complete=1))
    assert f"by job {job.id} (tests.worker.first_steps.block), attempt 1 of 1" in caplog.text
    assert "in block" in caplog.text


async def test_rounds_start_everything_in_order(app: Werk, seen: list[str]) -> None:
    """More jobs than one round starts all start, in the order of the claim."""
    words = [str(number) for number in range(2 * AT_ONCE + 1)]
    await app.enqueue_many([EnqueueParams(first_steps.note, (word,)) for word in words])
    await burst(app, concurrency=len(words))
    assert words == seen


class Interrupting(Claimer):
    """A claim whose jobs the worker stops before they have started."""

    worker: AsyncWorker
    reason: Interruption | None = None

    async def turn_over(self, connection: Connection, limit: int, ends: Sequence[Settlement] = ()) -> Turn:
        turn = await super().turn_over(connection, limit, ends)
        engine = self.worker._engine
        if turn.claimed and engine is not None:
            if self.reason is None:
                self.worker.stop()
                await asyncio.sleep(0)
            else:
                loop = asyncio.get_running_loop()
                # It was put there before the one that starts them.
                loop.call_soon(engine._runs.interrupt, self.reason)
        return turn


async def test_stop_before_the_start_gives_back(
    app: Werk, tables: Tables, monkeypatch: pytest.MonkeyPatch, seen: list[str]
) -> None:
    """What was claimed, and has not started when the worker stops with no time left, is given back, and has not run."""
    monkeypatch.setattr("pgwerk.worker.engine.Claimer", Interrupting)
    count = 2 * AT_ONCE + 1
    await app.enqueue_many([EnqueueParams(first_steps.note, (str(number),)) for number in range(count)])
    worker = Interrupting.worker = AsyncWorker(app, handle_signals=False, shutdown_timeout=0, concurrency=count)
    await asyncio.wait_for(worker.run(), 20)
    assert [] == seen
    assert [("queued", 0, count)] == await tables.rows("SELECT status, attempts, count(*) FROM {jobs} GROUP BY 1, 2")
    assert 0 == await tables.value("SELECT count(*) FROM {executions}")


async def test_abort_before_the_start_aborts(
    app: Werk, tables: Tables, monkeypatch: pytest.MonkeyPatch, seen: list[str]
) -> None:
    """A job that is aborted between its claim and its start ends as aborted, and does not run."""
    monkeypatch.setattr("pgwerk.worker.engine.Claimer", Interrupting)
    monkeypatch.setattr(Interrupting, "reason", Interruption.Abort)
    await app.enqueue(first_steps.note, "word")
    worker = Interrupting.worker = AsyncWorker(app, handle_signals=False, burst=True)
    await asyncio.wait_for(worker.run(), 20)
    assert [] == seen
    assert [("aborted", 1)] == await tables.rows("SELECT status, attempts FROM {jobs}")


async def test_callback_that_is_stopped_before_it_starts(
    app: Werk, tables: Tables, monkeypatch: pytest.MonkeyPatch, seen: list[str]
) -> None:
    """A callback that was taken up, and has not started when the worker stops, is left to another worker."""
    take = Callbacks.take
    workers: list[AsyncWorker] = []

    async def stop_and_take(callbacks: Callbacks, connection: Connection, limit: int) -> Any:
        taken = await take(callbacks, connection, limit)
        if taken:
            workers[0].stop()
            await asyncio.sleep(0)
        return taken

    monkeypatch.setattr(Callbacks, "take", stop_and_take)
    await app.enqueue(handlers.echo, _on_success=first_steps.hang_and_note)
    worker = AsyncWorker(app, handle_signals=False, shutdown_timeout=0)
    workers.append(worker)
    await ended(worker, asyncio.create_task(worker.run()))
    assert [] == seen
    assert [("complete", 0, True)] == await tables.rows(
        "SELECT status, callback_tries, callback_due <= now() FROM {jobs}"
    )
