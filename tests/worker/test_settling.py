"""Settling in batches: what comes together, what is refused, and what happens while an answer is on its way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence

import pytest
from tests import handlers

from pgwerk import EnqueueParams, Job, JobStatus, Retry, Werk
from pgwerk._async.connections import Connection
from pgwerk._core.claimed import Claimed
from pgwerk._core.ids import new_id
from pgwerk._core.inserts import Settled, Settlement
from pgwerk._core.policy import after_failure, after_success
from pgwerk._sql import Names, Statements
from pgwerk.worker.claiming import Claimer
from pgwerk.worker.session import Session
from pgwerk.worker.settling import Settler


class Bench:
    """The parts of a worker, to be moved by hand."""

    def __init__(self, app: Werk) -> None:
        self.app = app
        self.statements = Statements(Names(app.config.schema, app.config.prefix))
        self.session = Session(app.dsn, silence_secs=10)
        self.claimer = Claimer(self.statements, new_id(), ["default"])
        self.statuses: list[str] = []

    def settled(self, settled: Iterable[Settled]) -> None:
        self.statuses += [each.status for each in settled]

    async def claim(self, limit: int = 100) -> list[Claimed]:
        async with self.session.use() as connection:
            return await self.claimer.claim(connection, limit)

    async def job(self, claimed: Claimed) -> Job:
        return await self.app.get_job(claimed.id)


@pytest.fixture
async def bench(dsn: str, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with Werk(dsn, schema=f"s{abs(hash(request.node.name))}", pool_size=2) as app:
        made = Bench(app)
        yield made
        await made.session.close()


def succeeded(claimed: Claimed, result: str = "1") -> Settlement:
    return Settlement.of(claimed, after_success(claimed, result))


def failed(claimed: Claimed) -> Settlement:
    return Settlement(claimed.id, claimed.worker_id, claimed.attempts, after_failure(claimed, "boom"))


async def settle(settler: Settler, settlements: Iterable[Settlement]) -> None:
    for each in settlements:
        settler.add(each)
    task = asyncio.create_task(settler.run())
    async with asyncio.timeout(30):
        while len(settler):
            await asyncio.sleep(0.01)
    task.cancel()


async def test_next_attempt_ends_before_the_answer_about_the_last_one(bench: Bench) -> None:
    """An attempt that is over before the settling of the one before it is answered is settled as well."""
    await bench.app.enqueue(handlers.echo, _retry=Retry(max=2))
    (first,) = await bench.claim()

    class Slow(Settler):
        async def _send(self, connection: Connection, batch: Sequence[Settlement]) -> list[Settled]:
            answer = await super()._send(connection, batch)
            if JobStatus.Queued.value in [each.status for each in answer]:
                (second,) = await bench.claimer.claim(connection, 1)
                self.add(succeeded(second))
            return answer

    await settle(Slow(bench.session, bench.statements, bench.settled), [failed(first)])
    assert ["queued", "complete"] == bench.statuses
    assert (JobStatus.Complete, 1, 2) == ((job := await bench.job(first)).status, job.result, job.attempts)


async def test_row_that_the_server_refuses_fails_alone(bench: Bench) -> None:
    """Of a batch, the one outcome that the server cannot store fails its job; all others are settled as they are."""
    await bench.app.enqueue_many([EnqueueParams(handlers.echo) for _ in range(20)])
    claimed = await bench.claim()
    offender = claimed[7]
    await settle(
        Settler(bench.session, bench.statements, bench.settled),
        [succeeded(each, "no json" if each is offender else "1") for each in claimed],
    )
    jobs = [await bench.job(each) for each in claimed]
    assert [JobStatus.Failed if each is offender else JobStatus.Complete for each in claimed] == [
        job.status for job in jobs
    ]
    assert "cannot be stored" in (jobs[7].error or "")


async def test_outcome_of_a_lost_job_is_dropped(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """An outcome whose job belongs to another attempt by now changes nothing, and is logged."""
    await bench.app.enqueue(handlers.echo, _retry=Retry(max=3))
    (first,) = await bench.claim()
    await settle(Settler(bench.session, bench.statements, bench.settled), [failed(first)])
    (second,) = await bench.claim()
    before = await bench.job(second)
    await settle(Settler(bench.session, bench.statements, bench.settled), [succeeded(first)])
    assert before == await bench.job(second)
    assert any("was dropped" in record.getMessage() for record in caplog.records)
