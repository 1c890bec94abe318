"""Claims that start behind the head of the queue: nothing that appears before it is forgotten, or claimed twice."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from tests import handlers
from tests.worker import jobs
from tests.worker.conftest import Tables, working

from pgwerk import EnqueueParams, ExecutionStatus, JobStatus, Werk
from pgwerk._async.connections import Connection
from pgwerk._core.claimed import Claimed
from pgwerk._core.inserts import Settlement, settle_params
from pgwerk._core.policy import Outcome
from pgwerk._core.rows import JOB_COLUMNS
from pgwerk.worker import claiming, heads
from pgwerk.worker.claiming import Claimer, Turn
from pgwerk.worker.heads import LOOK_BACK_SECS, MOST_PRIORITIES, Head

LIMIT = 5


class Clock:
    """The time, for who claims, which passes when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def pass_by(self) -> None:
        """Let so much time pass that the next claim begins at the very beginning."""
        self.now += LOOK_BACK_SECS[1]


class Queue:
    """A queue that one worker claims from; the others' jobs come and go."""

    def __init__(self, app: Werk, tables: Tables, connection: Connection) -> None:
        self.app = app
        self.tables = tables
        self.connection = connection
        self.claimer = Spy(tables)
        self.claimed: list[str] = []
        self.clock = Clock()

    async def fill(self, count: int, **options: Any) -> list[str]:
        """Enqueue jobs."""
        found = await self.app.enqueue_many([EnqueueParams(handlers.echo, **options) for _ in range(count)])
        return [job.id for job in found if job is not None]

    async def claim(self, limit: int = LIMIT) -> list[Claimed]:
        """Claim jobs."""
        claimed = await self.claimer.claim(self.connection, limit)
        self.claimed += [each.id for each in claimed]
        return claimed

    async def ids(self, limit: int = LIMIT) -> list[str]:
        """Claim jobs, and give their ids in the order in which they start."""
        return [each.id for each in await self.claim(limit)]

    def sent(self) -> list[str]:
        """The statements that have claimed since this was asked for last."""
        sent, self.claimer.sent = self.claimer.sent, []
        return sent


class Spy(Claimer):
    """Remembers what it has sent."""

    def __init__(self, tables: Tables) -> None:
        super().__init__(tables.statements, "00000000-0000-0000-0000-000000000001", ["default"])
        self.sent: list[str] = []
        self.params: dict[str, Any] = {}

    async def _send(
        self, connection: Connection, turn: Turn, way: str, params: dict[str, Any], ends: Sequence[Settlement]
    ) -> list[Claimed]:
        self.sent.append(f"turn_over_{way}" if ends else f"claim_{way}")
        self.params = params
        return await super()._send(connection, turn, way, params, ends)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of the claims."""
    clock = Clock()
    for module in (claiming, heads):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
async def queue(app: Werk, tables: Tables, clock: Clock) -> Queue:
    """A queue whose head is in the middle of it: jobs of two priorities have been claimed."""
    queue = Queue(app, tables, await tables.connect())
    queue.clock = clock
    await queue.fill(2, priority=20)
    await queue.fill(100 * LIMIT, priority=10)
    assert LIMIT == len(await queue.ids())
    return queue


@contextlib.asynccontextmanager
async def old_snapshot(tables: Tables) -> AsyncIterator[None]:
    """A session that holds a snapshot, as a report does."""
    connection = await tables.connect()
    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    await connection.execute(tables.sql("SELECT count(*) FROM {jobs}"))
    yield
    await connection.execute("ROLLBACK")


async def test_full_claims_go_on_where_the_last_one_ended(queue: Queue) -> None:
    """As long as claims come back full, the next one starts behind the head."""
    queue.sent()
    for _ in range(3):
        await queue.ids()
    assert ["claim_from_head"] * 3 == queue.sent()
    assert len(queue.claimed) == len(set(queue.claimed)) == 4 * LIMIT


@pytest.mark.usefixtures("clock")
async def test_dead_entries_before_the_head_are_not_read(app: Werk, tables: Tables) -> None:
    """While an old snapshot is held, a claim behind the head does not read what was claimed before it."""
    queue = Queue(app, tables, await tables.connect())
    await queue.fill(3000)
    async with old_snapshot(tables):
        for _ in range(5):
            await queue.ids(500)
        read = [await blocks_read(queue, statement) for statement in ("claim_from_head", "claim_ungrouped")]
    assert 2 * read[0] < read[1]


async def blocks_read(queue: Queue, statement: str) -> int:
    """How much of the ready index, and of the jobs that it leads to, a claim of ten jobs reads."""
    text = b"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) " + queue.tables.statements[statement]
    async with queue.connection.transaction(force_rollback=True):
        cursor = await queue.connection.execute(text, {**queue.claimer.params, "limit": 10})
        ((plan,),) = await cursor.fetchall()
    ready = [node for node in nodes(plan[0]["Plan"]) if node.get("Index Name", "").endswith("_jobs_ready")]
    assert ready
    return sum(node["Shared Hit Blocks"] + node["Shared Read Blocks"] for node in ready)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All nodes of a plan."""
    yield plan
    for each in plan.get("Plans", []):
        yield from nodes(each)


# What appears before the head


async def retry(queue: Queue) -> list[str]:
    """An attempt fails, and its job is ready once more, at its old place."""
    settlement = Settlement(
        queue.claimed[-1], queue.claimer._worker_id, 1, Outcome(JobStatus.Queued, ExecutionStatus.Failed)
    )
    await queue.connection.execute(queue.tables.statements["settle"], settle_params([settlement]))
    return [settlement.job_id]


async def late_commit(queue: Queue) -> list[str]:
    """A transaction commits that has enqueued a job before the others were."""
    other = await queue.tables.connect()
    async with other.transaction():
        job = await queue.app.enqueue(handlers.echo, _priority=10, _conn=other)
        assert job is not None
        old = "UPDATE {jobs} SET scheduled_at = now() - interval '1 hour' WHERE id = %s"
        await other.execute(queue.tables.sql(old), [job.id])
        assert job.id not in await queue.ids()
    return [job.id]


async def priority_between(queue: Queue) -> list[str]:
    """A job appears whose priority lies between those that were claimed."""
    return await queue.fill(1, priority=15)


async def locked(queue: Queue) -> list[str]:
    """A session lets go of a job that it held while the head moved on."""
    best = "SELECT id::text FROM {jobs} WHERE status = 'queued' ORDER BY scheduled_at, id LIMIT 1 FOR UPDATE"
    holder = await queue.tables.connect()
    async with holder.transaction(force_rollback=True):
        ((job_id,),) = await (await holder.execute(queue.tables.sql(best))).fetchall()
        assert job_id not in await queue.ids()
    return [job_id]


async def group(queue: Queue) -> list[str]:
    """A job with a group is released that is better than all others."""
    return await queue.fill(1, priority=30, group="g")


@pytest.mark.parametrize("appear", [retry, late_commit, priority_between, locked, group])
async def test_what_appears_before_the_head_is_claimed(queue: Queue, appear: Any) -> None:
    """Whatever appears before the head while claims come back full is claimed at the next look from the beginning."""
    async with old_snapshot(queue.tables):
        expected = await appear(queue)
        assert not set(expected) & set(await queue.ids())
        assert {"claim_from_head"} == set(queue.sent()[-1:])
        queue.clock.pass_by()
        assert expected == (await queue.ids())[: len(expected)]
    again = 2 if appear is retry else 1
    assert again == max(map(queue.claimed.count, queue.claimed))


async def test_higher_priority_does_not_wait(queue: Queue) -> None:
    """A job with a higher priority than any that was claimed lately is the first of the very next claim."""
    first, second = [*await queue.fill(1, priority=25), *await queue.fill(1, priority=2**31 - 1)]
    assert [second, first] == (await queue.ids())[:2]
    assert ["claim_from_head"] == queue.sent()[-1:]


@pytest.mark.usefixtures("clock")
async def test_lower_priority_is_claimed_when_the_others_are_gone(app: Werk, tables: Tables) -> None:
    """A claim that finds too little behind the head looks from the beginning at once, and so comes to what is lower."""
    queue = Queue(app, tables, await tables.connect())
    await queue.fill(3 * LIMIT - 1, priority=10)
    low = await queue.fill(2, priority=-10)
    for _ in range(2):
        assert LIMIT == len(await queue.ids())
    queue.sent()
    assert low[:1] == (await queue.ids())[LIMIT - 1 :]
    assert ["claim_from_head", "claim_ungrouped"] == queue.sent()
    assert low[1:] == await queue.ids()
    assert len(queue.claimed) == len(set(queue.claimed))


async def test_order_behind_the_head(queue: Queue) -> None:
    """Behind the head, jobs are claimed by priority, then in the order in which they were made ready."""
    high, higher = [await queue.fill(2, priority=priority) for priority in (20, 30)]
    ten = "SELECT array_agg(id::text ORDER BY scheduled_at, id) FROM {jobs} WHERE status = 'queued' AND priority = 10"
    waiting = await queue.tables.value(ten)
    assert [*higher, *high, *waiting[:4]] == await queue.ids(8)


async def test_expired_job_is_not_claimed_behind_the_head(queue: Queue) -> None:
    """A job that has not started within its time to live is left to the sweep, wherever a claim starts."""
    (higher,) = await queue.fill(1, priority=30, ttl=1)
    best = "SELECT id::text FROM {jobs} WHERE status = 'queued' AND priority = 10 ORDER BY scheduled_at, id LIMIT 1"
    behind = await queue.tables.value(best)
    await queue.tables.rows("UPDATE {jobs} SET expires_at = now() WHERE id = ANY (%s::uuid[])", [higher, behind])
    for _ in range(2):
        assert not {higher, behind} & set(await queue.ids())
    assert ["claim_from_head"] * 2 == queue.sent()[-2:]


@pytest.mark.usefixtures("clock")
async def test_empty_queue_forgets_its_head(app: Werk, tables: Tables) -> None:
    """A queue that runs empty is claimed from the beginning: there is nothing to be quick about."""
    queue = Queue(app, tables, await tables.connect())
    await queue.fill(2 * LIMIT - 1)
    for _ in range(2):
        await queue.ids()
    queue.sent()
    await queue.fill(LIMIT)
    await queue.ids()
    assert ["claim_ungrouped"] == queue.sent()


@pytest.mark.usefixtures("clock")
async def test_head_of_many_priorities_is_forgotten(app: Werk, tables: Tables) -> None:
    """With more priorities than a head has room for, claims begin at the beginning, and lose nothing."""
    queue = Queue(app, tables, await tables.connect())
    count = 3 * MOST_PRIORITIES
    await app.enqueue_many([EnqueueParams(handlers.echo, priority=number) for number in range(count)])
    for _ in range(count // LIMIT):
        assert LIMIT == len(await queue.ids())
    assert await tables.counts_are(active=count)
    assert count == len(set(queue.claimed))


async def test_two_claims_behind_the_head_share_it(app: Werk, tables: Tables, clock: Clock) -> None:
    """What another session is just claiming is skipped behind the head, and claimed when that comes to nothing."""
    queue = Queue(app, tables, await tables.connect())
    await queue.fill(10 * LIMIT)
    other = Queue(app, tables, await tables.connect())
    for each in (queue, other):
        await each.ids()
        await each.ids()
    async with other.connection.transaction(force_rollback=True):
        theirs = await other.ids()
        ours = await queue.ids()
        assert {"claim_from_head"} == {other.sent()[-1], queue.sent()[-1]}
    assert LIMIT == len(ours) == len(theirs)
    assert not set(ours) & set(theirs)
    clock.pass_by()
    assert theirs == await queue.ids()


async def test_busy_worker_runs_what_appears_before_the_head(app: Werk, tables: Tables) -> None:
    """While a worker is busy, and an old snapshot is held, a job before the head runs long before the last one."""
    for priority, count in ((20, 50), (10, 4000)):
        await app.enqueue_many([EnqueueParams(jobs.nap_quietly, (1, 0.01), priority=priority) for _ in range(count)])
    async with old_snapshot(tables), working(app, concurrency=10):
        claimed = "SELECT count(*) > 0 FROM {jobs} WHERE priority = 10 AND status = 'complete'"
        await tables.until(lambda: tables.value(claimed))
        job = await app.enqueue(handlers.echo, _priority=15)
        assert job is not None
        await app.wait_for(job.id, timeout=10)
        assert await tables.value("SELECT count(*) > 0 FROM {jobs} WHERE status = 'queued'")
    assert 0 == await tables.value("SELECT count(*) FROM {executions} WHERE attempt > 1")


def place(priority: int, second: int) -> Claimed:
    """A claimed job at a place."""
    values = {"id": f"{second:032}", "priority": priority, "scheduled_at": datetime.fromtimestamp(second, UTC)}
    return Claimed([values.get(name) for name in JOB_COLUMNS])


def test_head_only_moves_on(clock: Clock) -> None:
    """A head moves in one direction, and begins anew with each look from the beginning, or with too many priorities."""
    head = Head()
    head.was_left(0, is_exhausted=False)
    head.move([place(1, 5), place(1, 4), place(0, 1)])
    assert head.is_near(clock.now)
    params = head.params()
    assert "{1,0}" == params["priorities"]
    assert f"{{{5:032},{1:032}}}" == params["last_ids"]
    head.was_left(0, is_exhausted=False)
    assert not head.is_near(clock.now)
    head.move([place(0, number) for number in range(3)])
    assert "{0}" == head.params()["priorities"]
    head.move([place(number, 1) for number in range(MOST_PRIORITIES + 1)])
    assert not head.is_near(clock.now)
