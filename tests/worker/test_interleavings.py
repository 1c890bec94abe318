"""What clients, workers and sweeps do to one job, or to a job and those that depend on it, at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import psycopg
import pytest
from tests import handlers
from tests.worker.conftest import Tables, working

from pgwerk import Dependency, EnqueueParams, ExecutionStatus, Job, JobNotFound, JobStatus, Repeat, Werk
from pgwerk._async import managing, sweeping
from pgwerk._async.aftermath import Aftermath, end_unstarted
from pgwerk._core.claimed import Claimed
from pgwerk._core.ids import FIRST_ID, new_id
from pgwerk._core.inserts import Settlement, settle_params
from pgwerk._core.policy import Outcome, after_success

Connection = psycopg.AsyncConnection[Any]


async def enqueued(app: Werk, *args: Any, **options: Any) -> Job:
    """Enqueue a job."""
    job = await app.enqueue(handlers.echo, *args, **options)
    assert job is not None
    return job


async def settle(tables: Tables, connection: Connection, claimed: Iterable[Claimed], *, ok: bool = True) -> None:
    """End attempts, and nothing else."""
    status, execution = (
        (JobStatus.Complete, ExecutionStatus.Complete) if ok else (JobStatus.Failed, ExecutionStatus.Failed)
    )
    outcome = Outcome(status=status, execution=execution)
    settlements = [Settlement(each.id, each.worker_id, each.attempts, outcome) for each in claimed]
    assert len(settlements) == len(await tables.sender.rows(connection, "settle", **settle_params(settlements)))


async def statuses(app: Werk, *jobs: Job) -> list[str]:
    """The statuses that jobs have now."""
    found = [await app.get_job(job.id) for job in jobs]
    return [job.status.value for job in found]


# Parents and children


@pytest.mark.parametrize("first_ok", [True, False])
async def test_two_parents_end_at_once(app: Werk, tables: Tables, first_ok: bool) -> None:
    """When two parents of one job are settled at once, neither seeing the other's end, the job is settled once."""
    parents = [await enqueued(app, number) for number in range(2)]
    child = await enqueued(app, _depends_on=parents)
    one, two = await tables.connect(), await tables.connect()
    first, second = await tables.claimer().claim(one, 2)
    async with one.transaction():
        await settle(tables, one, [first], ok=first_ok)
        async with two.transaction():
            await settle(tables, two, [second])
            # In the transactions that end them, each sees the other as running: this is why nobody decides there.
            for connection, running in ((one, second), (two, first)):
                cursor = await connection.execute(tables.sql("SELECT status FROM {jobs} WHERE id = %s"), [running.id])
                assert ("active",) == await cursor.fetchone()
    aftermath = Aftermath(tables.sender)
    changes = await asyncio.gather(aftermath.see_to(one, ended=[first.id]), aftermath.see_to(two, ended=[second.id]))
    assert [child.id] == [job_id for each in changes for job_id in each.released + each.failed]
    assert ["queued" if first_ok else "failed"] == await statuses(app, child)


async def test_last_parent_decides(app: Werk, tables: Tables) -> None:
    """Who ends one parent while another still runs leaves the job waiting; who ends the last one releases it."""
    parents = [await enqueued(app, number) for number in range(2)]
    child = await enqueued(app, _depends_on=parents)
    one, two = await tables.connect(), await tables.connect()
    first, second = await tables.claimer().claim(one, 2)
    aftermath = Aftermath(tables.sender)
    async with two.transaction():
        await settle(tables, two, [second])
        await settle(tables, one, [first])
        assert not (await aftermath.see_to(one, ended=[first.id])).any
    assert ["waiting"] == await statuses(app, child)
    assert [child.id] == (await aftermath.see_to(two, ended=[second.id])).released


async def test_locked_child_is_come_back_for(app: Werk, tables: Tables) -> None:
    """A child that somebody holds when its parent ends is not forgotten: whoever sees to it comes back."""
    parent = await enqueued(app)
    child = await enqueued(app, _depends_on=parent)
    holder, worker = await tables.connect(), await tables.connect()
    await settle(tables, worker, await tables.claimer().claim(worker, 1))
    async with holder.transaction():
        await holder.execute(tables.sql("SELECT FROM {jobs} WHERE id = %s FOR UPDATE"), [child.id])
        following = asyncio.create_task(Aftermath(tables.sender).see_to(worker, ended=[parent.id]))
        await asyncio.wait([following], timeout=0.2)
        assert not following.done()
    changes = await asyncio.wait_for(following, 10)
    assert [child.id] == changes.released


async def test_child_is_committed_while_its_parent_is_settled(app: Werk, tables: Tables) -> None:
    """A child that is committed while the settlement of its parent has begun, and not ended, is not forgotten."""
    parent = await enqueued(app)
    async with working(app), tables.held("complete"):
        held = await enqueued(app, _priority=99)
        # The settlement of both hangs in the server; its snapshot is older than the child.
        await tables.until_blocked()
        child = await enqueued(app, _depends_on=[parent, held])
        assert JobStatus.Waiting is child.status
    async with working(app):
        ended = await app.wait_for(child.id, timeout=20)
    assert JobStatus.Complete is ended.status


async def test_worker_that_dies_after_settling(app: Werk, tables: Tables) -> None:
    """When a worker dies between the end of a parent and what follows from it, another one's sweep follows."""
    parent = await enqueued(app)
    child = await enqueued(app, _depends_on=parent)
    connection = await tables.connect()
    await settle(tables, connection, await tables.claimer().claim(connection, 1))
    assert ["complete", "waiting"] == await statuses(app, parent, child)
    async with working(app, sweep_interval=0.2, heartbeat_interval=0.1):
        ended = await app.wait_for(child.id, timeout=20)
    assert JobStatus.Complete is ended.status


async def test_child_of_an_open_transaction_without_listening(app: Werk, tables: Tables) -> None:
    """A worker that hears nothing finds a child that was committed after its parent had ended, too."""
    connection = await tables.connect()
    async with working(app, listen=False, sweep_interval=60):
        async with connection.transaction():
            parent = await enqueued(app)
            child = await app.enqueue(handlers.echo, _depends_on=parent, _conn=connection)
            assert child is not None
            await app.wait_for(parent.id, timeout=20)
        ended = await app.wait_for(child.id, timeout=20)
    assert JobStatus.Complete is ended.status


async def test_child_is_inserted_while_its_parent_is_removed(app: Werk, tables: Tables) -> None:
    """Who depends on a job that is being removed waits for that, and then hears that there is no such job."""
    parent = await enqueued(app)
    remover = await tables.connect()
    async with remover.transaction():
        await remover.execute(tables.sql("SELECT FROM {jobs} FOR UPDATE"))
        inserting = asyncio.create_task(app.enqueue(handlers.echo, _depends_on=parent))
        await tables.until_blocked()
        await Aftermath(tables.sender).delete(remover, [parent.id])
    with pytest.raises(JobNotFound, match=parent.id):
        await inserting
    assert {} == await tables.counts()


async def test_purge_waits_for_no_child(app: Werk, tables: Tables) -> None:
    """A purge of failed parents settles the children that wait, then deletes; one that a transaction needs, stays."""
    parents = [await enqueued(app, number) for number in range(2)]
    child = await enqueued(app, _depends_on=parents[0])
    connection, holder = await tables.connect(), await tables.connect()
    await settle(tables, connection, await tables.claimer().claim(connection, 2), ok=False)
    await tables.rows("UPDATE {jobs} SET completed_at = now() - interval '8 days' WHERE status = 'failed'")
    async with holder.transaction():
        late = await app.enqueue(handlers.echo, _depends_on=parents[1], _conn=holder)
        assert late is not None
        assert 1 == await asyncio.wait_for(app.purge_jobs("failed", 7), 10)
        assert ["failed"] == await statuses(app, child)
    await app.sweep()
    assert ["failed"] == await statuses(app, late)
    assert 1 == await app.purge_jobs("failed", 7)
    assert [child.id, late.id] == [job.id for job in await app.list_jobs()]


async def test_removal_sees_children_that_came_after_its_look(app: Werk, tables: Tables) -> None:
    """A failed parent stays while a child waits that it must fail, even one that nobody knew of when it was chosen."""
    parent = await enqueued(app)
    connection = await tables.connect()
    await settle(tables, connection, await tables.claimer().claim(connection, 1), ok=False)
    async with connection.transaction():
        late = await app.enqueue(handlers.echo, _depends_on=parent, _conn=connection)
    assert late is not None
    assert ([], []) == await Aftermath(tables.sender).remove(connection, [parent.id])
    await app.sweep()
    failed = await app.get_job(late.id)
    assert f"dependency failed: job {parent.id} (tests.handlers.echo) failed" == failed.error
    assert ([parent.id], []) == await Aftermath(tables.sender).remove(connection, [parent.id])


async def test_deletion_waits_for_a_child_that_is_being_inserted(app: Werk, tables: Tables) -> None:
    """Deleting a job waits for the transaction that inserts a child of it, and then settles the child."""
    parent = await enqueued(app)
    holder = await tables.connect()
    async with holder.transaction():
        child = await app.enqueue(handlers.echo, _depends_on=Dependency(parent, allow_failure=True), _conn=holder)
        assert child is not None
        deleting = asyncio.create_task(app.delete_job(parent.id))
        await tables.until_blocked()
    await asyncio.wait_for(deleting, 10)
    assert ["queued"] == await statuses(app, child)


async def test_parent_with_a_key_that_is_not_visible_yet(app: Werk, tables: Tables) -> None:
    """A spec that depends on one whose key was committed by somebody else a moment ago depends on that job."""
    holder = await tables.connect()
    async with holder.transaction():
        older = await app.enqueue(handlers.echo, _key="k", _conn=holder)
        assert older is not None
        first = EnqueueParams(handlers.echo, key="k")
        inserting = asyncio.create_task(app.enqueue_many([first, EnqueueParams(handlers.echo, depends_on=first)]))
        await tables.until_blocked()
    twin, child = await asyncio.wait_for(inserting, 10)
    assert twin is None
    assert child is not None
    assert [older.id] == await app.get_job_dependencies(child.id)
    assert {"queued": 1, "waiting": 1} == await tables.counts()


# Keys


@pytest.mark.parametrize("commits", [True, False])
async def test_key_is_freed_while_a_duplicate_is_inserted(app: Werk, tables: Tables, commits: bool) -> None:
    """A duplicate that is inserted while the key's job is being deleted waits for that, and then knows."""
    old = await enqueued(app, _key="k")
    remover = await tables.connect()
    async with remover.transaction(force_rollback=not commits):
        await remover.execute(tables.sql("DELETE FROM {jobs} WHERE id = %s"), [old.id])
        inserting = asyncio.create_task(app.enqueue(handlers.echo, _key="k"))
        await tables.until_blocked()
    new = await asyncio.wait_for(inserting, 10)
    assert commits == (new is not None)
    assert {"queued": 1} == await tables.counts()


async def test_key_is_handed_on_while_a_duplicate_is_inserted(app: Werk, tables: Tables) -> None:
    """The next run of a repeating job takes the key over; a duplicate that comes in between is still one."""
    await enqueued(app, _key="k", _repeat=Repeat(times=1))
    worker = await tables.connect()
    (claimed,) = await tables.claimer().claim(worker, 1)
    settlement = Settlement.of(claimed, after_success(claimed, "1"))
    async with worker.transaction():
        await tables.sender.rows(worker, "settle", **settle_params([settlement]))
        inserting = asyncio.create_task(app.enqueue(handlers.echo, _key="k"))
        await tables.until_blocked()
    assert None is await asyncio.wait_for(inserting, 10)
    assert {"complete": 1, "queued": 1} == await tables.counts()
    assert 1 == await tables.value("SELECT count(*) FROM {jobs} WHERE key = 'k'")


# Cancel, abort, requeue


async def test_cancel_during_a_claim(app: Werk, tables: Tables) -> None:
    """A job that is being claimed when somebody cancels it has started: cancelling waits for the claim, and says no."""
    job = await enqueued(app)
    worker = await tables.connect()
    async with worker.transaction():
        assert 1 == len(await tables.claimer().claim(worker, 1))
        cancelling = asyncio.create_task(app.cancel_job(job.id))
        await tables.until_blocked()
    assert False is await asyncio.wait_for(cancelling, 10)
    assert ["active"] == await statuses(app, job)


async def test_claim_during_a_cancel(app: Werk, tables: Tables) -> None:
    """A job that is being cancelled is not claimed, and the claim waits for nobody."""
    job = await enqueued(app)
    client, worker = await tables.connect(), await tables.connect()
    async with client.transaction():
        await end_unstarted(tables.sender, client, {job.id: "cancelled"}, JobStatus.Aborted)
        assert [] == await asyncio.wait_for(tables.claimer().claim(worker, 1), 10)
    assert [] == await tables.claimer().claim(worker, 1)
    assert ["aborted"] == await statuses(app, job)


async def test_abort_during_a_settlement(app: Werk, tables: Tables) -> None:
    """A job that is being settled when somebody aborts it has ended: aborting waits for that, and says no."""
    job = await enqueued(app)
    worker = await tables.connect()
    claimed = await tables.claimer().claim(worker, 1)
    async with worker.transaction():
        await settle(tables, worker, claimed)
        aborting = asyncio.create_task(app.abort_job(job.id))
        await tables.until_blocked()
    assert False is await asyncio.wait_for(aborting, 10)
    assert ["complete"] == await statuses(app, job)


async def test_settlement_during_an_abort(app: Werk, tables: Tables) -> None:
    """A settlement that comes while a job is being aborted waits for nobody, comes back, and ends it as aborted."""
    job = await enqueued(app)
    client, worker = await tables.connect(), await tables.connect()
    claimed = await tables.claimer().claim(worker, 1)
    (each,) = claimed
    settlement = Settlement(each.id, each.worker_id, each.attempts, after_success(each, "1"))
    async with client.transaction():
        await tables.sender.first(client, "lock_job", id=job.id)
        await tables.sender.rows(client, "request_abort", id=job.id)
        assert [] == await tables.sender.rows(worker, "settle", **settle_params([settlement]))
    await settle(tables, worker, claimed)
    assert ["aborted"] == await statuses(app, job)


async def test_requeue_during_a_removal(app: Werk, tables: Tables) -> None:
    """A job that is being removed when somebody requeues it is gone: requeueing waits for that, and says no."""
    job = await enqueued(app)
    await app.cancel_job(job.id)
    remover = await tables.connect()
    async with remover.transaction():
        await remover.execute(tables.sql("SELECT FROM {jobs} FOR UPDATE"))
        requeueing = asyncio.create_task(app.requeue_job(job.id))
        await tables.until_blocked()
        assert ([job.id], []) == await Aftermath(tables.sender).delete(remover, [job.id])
    assert False is await asyncio.wait_for(requeueing, 10)
    assert {} == await tables.counts()


async def test_removal_during_a_requeue(app: Werk, tables: Tables) -> None:
    """A job that is being requeued is not removed, although it had expired, and the sweep waits for nobody."""
    job = await enqueued(app, _failure_ttl=0)
    await app.cancel_job(job.id)
    client, sweeper = await tables.connect(), await tables.connect()
    found = [job.id]
    async with client.transaction():
        await tables.sender.rows(client, "requeue", ids=[job.id], together=[])
        removed = await asyncio.wait_for(Aftermath(tables.sender).remove(sweeper, found, expired=True), 10)
        assert ([], []) == removed
    assert ([], []) == await Aftermath(tables.sender).remove(sweeper, found, expired=True)
    assert ["queued"] == await statuses(app, job)


async def test_two_requeues_at_once(app: Werk, tables: Tables) -> None:
    """Of two that requeue one job at the same time, one does, and the budget grows once."""
    job = await enqueued(app, _retry=3)
    await app.cancel_job(job.id)
    holder = await tables.connect()
    async with holder.transaction():
        await holder.execute(tables.sql("SELECT FROM {jobs} FOR UPDATE"))
        calls = [asyncio.create_task(app.requeue_job(job.id)) for _ in range(2)]
        await tables.until_blocked(2)
    assert [False, True] == sorted([await asyncio.wait_for(call, 10) for call in calls])
    again = await app.get_job(job.id)
    assert (JobStatus.Queued, 3) == (again.status, again.max_attempts)


async def test_parent_is_requeued_after_the_verdict(app: Werk, tables: Tables) -> None:
    """A job whose parent is requeued between the verdict that releases it and the release goes on waiting."""
    parent = await enqueued(app)
    child = await enqueued(app, _depends_on=Dependency(parent, allow_failure=True))
    connection = await tables.connect()
    await settle(tables, connection, await tables.claimer().claim(connection, 1), ok=False)
    ((verdict, *culprit),) = await tables.sender.rows(connection, "judge_waiting", ids=[child.id], suspects=None)
    assert (child.id, None) == (verdict, culprit[0])
    assert await app.requeue_job(parent.id)
    assert [] == await tables.sender.ids(connection, "release", ids=[child.id])
    assert ["queued", "waiting"] == await statuses(app, parent, child)


async def test_requeue_of_what_has_succeeded_since(app: Werk, tables: Tables) -> None:
    """A job that somebody else requeued, and that succeeded, before a bulk requeue gets to it stays as it is."""
    job = await enqueued(app)
    await app.cancel_job(job.id)
    client, worker = await tables.connect(), await tables.connect()
    found = await tables.sender.ids(client, "find_requeueable", after=FIRST_ID, queue=None, function=None, limit=10)
    assert [job.id] == found
    assert await app.requeue_job(job.id)
    await settle(tables, worker, await tables.claimer().claim(worker, 1))
    assert [] == await tables.sender.rows(client, "requeue", ids=found, together=found)
    assert ["complete"] == await statuses(app, job)


async def test_bulk_changes_come_back_for_locked_rows(app: Werk, tables: Tables) -> None:
    """Changes in bulk wait for nobody, and come back for what somebody held when they came by."""
    jobs = [await enqueued(app, number) for number in range(3)]
    holder = await tables.connect()
    for change, status in ((app.bulk_cancel_jobs, "aborted"), (app.bulk_requeue_jobs, "queued")):
        async with holder.transaction():
            await holder.execute(tables.sql("SELECT FROM {jobs} WHERE id = %s FOR UPDATE"), [jobs[1].id])
            changing = asyncio.create_task(change())
            while 2 != await tables.value("SELECT count(*) FROM {jobs} WHERE status = %s", status):
                await asyncio.sleep(0.01)
            assert not changing.done()
        assert 3 == await asyncio.wait_for(changing, 10)


async def test_held_rows_are_not_in_the_way(app: Werk, tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many rows somebody holds, a sweep and a cancellation in bulk get to those behind them."""
    monkeypatch.setattr(sweeping, "BATCH", 2)
    monkeypatch.setattr(managing, "BATCH", 2)
    expired = [await enqueued(app, number, _failure_ttl=0) for number in range(8)]
    assert 8 == await app.bulk_cancel_jobs()
    queued = [await enqueued(app, number, _queue="other") for number in range(8)]
    holder = await tables.connect()
    async with holder.transaction():
        held = [job.id for job in (*expired[:4], *queued[:4])]
        await holder.execute(tables.sql("SELECT FROM {jobs} WHERE id = ANY (%s::uuid[]) FOR UPDATE"), [held])
        await app.sweep()
        cancelling = asyncio.create_task(app.bulk_cancel_jobs())
        assert {"aborted": 4, "queued": 8} == await tables.counts()
    assert 8 == await asyncio.wait_for(cancelling, 20)
    await app.sweep()
    assert {"aborted": 8} == await tables.counts()


async def test_bulk_cancel_releases_nothing(app: Werk, tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """When jobs are cancelled with what depends on them, nothing of it is released on the way."""
    monkeypatch.setattr(managing, "BATCH", 1)
    parents = [await enqueued(app, number, _queue="nobody") for number in range(3)]
    for parent in parents:
        await enqueued(app, _depends_on=Dependency(parent, allow_failure=True))
        await enqueued(app, _depends_on=parent)
    async with working(app):
        assert 9 == await app.bulk_cancel_jobs()
        await app.sweep()
    assert {"aborted": 9} == await tables.counts()


async def test_bulk_requeue_keeps_the_order(app: Werk, tables: Tables) -> None:
    """Of jobs that are requeued together, a child waits for its parent, also when somebody held that for a moment."""
    parent = await enqueued(app)
    child = await enqueued(app, _depends_on=parent)
    await app.cancel_job(parent.id)
    assert ["aborted", "failed"] == await statuses(app, parent, child)
    holder = await tables.connect()
    async with holder.transaction():
        await holder.execute(tables.sql("SELECT FROM {jobs} WHERE id = %s FOR UPDATE"), [parent.id])
        requeueing = asyncio.create_task(app.bulk_requeue_jobs())
        await tables.until(lambda: tables.value("SELECT count(*) = 1 FROM {jobs} WHERE completed_at IS NULL"))
    assert 2 == await asyncio.wait_for(requeueing, 10)
    assert ["queued", "waiting"] == await statuses(app, parent, child)


async def test_garbage_on_the_channel(app: Werk, tables: Tables) -> None:
    """A notification that makes no sense does not keep a worker from seeing to those that do."""
    connection = await tables.connect()
    async with working(app, sweep_interval=60, poll_interval=60):
        await app.apply(handlers.echo, timeout=20)
        for payload in ("w", "wgarbage", f"w{'0' * 40},x", "q", "d", "", "zzz", "aaa"):
            await connection.execute("SELECT pg_notify(%s, %s)", [tables.statements.names.ready_channel, payload])
        parent = await enqueued(app)
        assert 1 == await app.apply(handlers.echo, 1, _depends_on=parent, timeout=20)


async def test_row_that_is_to_go_and_has_succeeded_since(app: Werk, tables: Tables) -> None:
    """A failed job whose row is not to be kept stays, if it was requeued and has succeeded before that was seen to."""
    job = await enqueued(app, _failure_mode="delete")
    connection = await tables.connect()
    await settle(tables, connection, await tables.claimer().claim(connection, 1), ok=False)
    assert await app.requeue_job(job.id)
    await settle(tables, connection, await tables.claimer().claim(connection, 1))
    assert not (await Aftermath(tables.sender).see_to(connection, removable=[job.id])).any
    assert ["complete"] == await statuses(app, job)


async def test_rescue_leaves_the_rest_to_others(app: Werk, tables: Tables) -> None:
    """A rescue holds up no heartbeats: children of a lost job are seen to over another connection."""
    parent = await enqueued(app)
    child = await enqueued(app, _depends_on=parent)
    connection, holder = await tables.connect(), await tables.connect()
    claimed = await tables.claimer(worker_id=(lost := new_id())).claim(connection, 1)
    assert [parent.id] == [each.id for each in claimed]
    await tables.lapse(lost)
    async with holder.transaction():
        await holder.execute(tables.sql("SELECT FROM {jobs} WHERE id = %s FOR UPDATE"), [child.id])
        async with working(app, heartbeat_interval=0.1) as worker:
            await tables.until(lambda: tables.value("SELECT status = 'failed' FROM {jobs} WHERE id = %s", parent.id))
            for _ in range(5):
                await tables.until_beat(worker.id)
            assert ["waiting"] == await statuses(app, child)
    await app.sweep()
    assert ["failed"] == await statuses(app, child)
