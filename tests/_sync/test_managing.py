# Generated from tests/_async/test_managing.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""Cancel, requeue, abort and delete: one by one and in bulk; `vacuum` and `truncate`."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import sql
from tests import handlers
from tests._sync import _compat
from tests._sync.conftest import MakeApp

from pgwerk import (
    Dependency,
    EnqueueParams,
    ExecutionStatus,
    Job,
    JobError,
    JobNotFound,
    JobStatus,
    Retry,
    SyncWerk,
    WerkError,
)

UNKNOWN = "01900000-0000-7000-8000-000000000000"


def enqueued(app: SyncWerk, *args: Any, **options: Any) -> Job:
    job = app.enqueue(handlers.echo, *args, **options)
    assert job is not None
    return job


def failed(app: SyncWerk, **options: Any) -> Job:
    """A job that has failed."""
    job = app.enqueue(handlers.fail, **options)
    assert job is not None
    _compat.burst(app, queues=[job.queue])
    return job


def status(app: SyncWerk, job: Job) -> JobStatus:
    found = app.get_job(job.id)
    return found.status


@pytest.mark.parametrize("job_id", [UNKNOWN, "not a uuid", "", "\0"])
def test_unknown_job(app: SyncWerk, job_id: str) -> None:
    """For a job that is not there, what returns a bool returns False, and deleting it does nothing."""
    for method in (app.cancel_job, app.requeue_job, app.abort_job):
        assert False is method(job_id)
    app.delete_job(job_id)


def test_cancel(app: SyncWerk) -> None:
    """What has not started is cancelled: it ends as aborted, says why, is never claimed, and its waiters hear of it."""
    queued, scheduled = enqueued(app), enqueued(app, _delay=1000)
    waiting = enqueued(app, _depends_on=scheduled)
    for job in (queued, waiting, scheduled):
        assert app.cancel_job(job.id)
        ended = app.wait_for(job.id, timeout=0)
        assert (JobStatus.Aborted, "cancelled before it started") == (ended.status, ended.error)
        assert ended.completed_at is not None
        assert not app.cancel_job(job.id)
    _compat.burst(app)
    assert [JobStatus.Aborted] * 3 == [job.status for job in app.list_jobs()]


def test_cancel_wakes_the_waiter(app: SyncWerk) -> None:
    """Who waits for a job that is cancelled hears of it without polling."""
    job = enqueued(app)
    waiting = _compat.spawn(app.wait_for, job.id, timeout=20, poll_interval=1000)
    _until_awaited(app, job)
    assert app.cancel_job(job.id)
    ended = waiting.result()
    assert JobStatus.Aborted is ended.status


def test_what_has_ended_cannot_be_cancelled(app: SyncWerk) -> None:
    """A job that has ended stays what it is."""
    job = enqueued(app)
    _compat.burst(app)
    for method in (app.cancel_job, app.abort_job, app.requeue_job):
        assert not method(job.id)
    assert JobStatus.Complete is status(app, job)


def test_requeue(app: SyncWerk) -> None:
    """A failed job runs again with as many attempts as a new one; its history stays, and budgets do not compound."""
    job = failed(app, _retry=Retry(max=2))
    for rounds in (2, 3):
        assert app.requeue_job(job.id)
        again = app.get_job(job.id)
        assert (JobStatus.Queued, 2 * rounds - 2, 2 * rounds) == (again.status, again.attempts, again.max_attempts)
        assert (None, None, None, None) == (again.error, again.completed_at, again.started_at, again.worker_id)
        assert not app.requeue_job(job.id)
        _compat.burst(app)
        executions = app.get_executions(job.id)
        assert list(range(1, 2 * rounds + 1)) == [each.attempt for each in executions]
    assert [job.id] == [each.id for each in app.list_jobs(retried=True)]


def test_requeue_gives_the_whole_budget(app: SyncWerk) -> None:
    """A job that failed before its attempts were used up gets a full round as well, not what was left and a round."""
    job = app.enqueue(handlers.add, "no", "such", "arguments", _retry=5)
    assert job is not None
    _compat.burst(app)
    assert app.requeue_job(job.id)
    again = app.get_job(job.id)
    assert (1, 6) == (again.attempts, again.max_attempts)


def test_requeue_of_a_cancelled_job(app: SyncWerk) -> None:
    """A cancelled job can be requeued, runs at once, and its time to live begins anew."""
    job = enqueued(app, 5, _delay=1000, _ttl=300)
    app.cancel_job(job.id)
    assert app.requeue_job(job.id)
    again = app.get_job(job.id)
    assert again.expires_at is not None
    assert 300 == (again.expires_at - again.scheduled_at).total_seconds()
    _compat.burst(app)
    ended = app.get_job(job.id)
    assert (JobStatus.Complete, 5) == (ended.status, ended.result)


def test_abort_is_requested(app: SyncWerk) -> None:
    """A running job that is asked to abort ends as aborted, whatever comes of it; others are not asked."""
    idle = enqueued(app, _delay=1000)
    assert not app.abort_job(idle.id)
    for handler, args in ((handlers.stubborn, (0.3,)), (handlers.fail_later, (0.3,))):
        job = app.enqueue(handler, *args, _retry=3)
        assert job is not None
        with _compat.working(app):
            while not app.abort_job(job.id):
                _compat.pause()
            assert JobStatus.Aborting is status(app, job)
            assert app.abort_job(job.id)
            ended = app.wait_for(job.id, timeout=20)
        assert (JobStatus.Aborted, None) == (ended.status, ended.result)
        (execution,) = app.get_executions(job.id)
        assert ExecutionStatus.Aborted is execution.status


def test_delete(app: SyncWerk) -> None:
    """A deleted job is gone with its history, and its key is free."""
    job = enqueued(app, _key="k")
    _compat.burst(app)
    app.delete_job(job.id)
    for method in (app.get_job, app.get_executions, app.get_job_dependencies):
        with pytest.raises(JobNotFound):
            method(job.id)
    app.delete_job(job.id)
    assert app.enqueue(handlers.echo, _key="k") is not None


def test_deleted_while_it_runs(app: SyncWerk) -> None:
    """What comes of a running job that was deleted is dropped, and the worker goes on."""
    job = app.enqueue(handlers.stubborn, 0.3)
    assert job is not None
    with _compat.working(app):
        while JobStatus.Active is not status(app, job):
            _compat.pause()
        app.delete_job(job.id)
        assert 7 == app.apply(handlers.echo, 7, timeout=20)
    assert [7] == [each.result for each in app.list_jobs()]


def test_deletion_ends_the_wait(app: SyncWerk) -> None:
    """Who waits for a job that is deleted gets `JobNotFound`, without polling."""
    job = enqueued(app)
    waiting = _compat.spawn(app.wait_for, job.id, timeout=20, poll_interval=1000)
    _until_awaited(app, job)
    app.delete_job(job.id)
    with pytest.raises(JobNotFound):
        waiting.result()


def test_bulk_requeue(app: SyncWerk) -> None:
    """`bulk_requeue_jobs` takes failed and aborted jobs, of one queue or one handler if told so, and counts them."""
    first = failed(app, _queue="a")
    second = failed(app, _queue="b")
    cancelled = enqueued(app, _queue="a")
    app.cancel_job(cancelled.id)
    done = enqueued(app, _queue="c")
    _compat.burst(app, queues=["c"])
    assert 0 == app.bulk_requeue_jobs("c")
    assert 1 == app.bulk_requeue_jobs(queue="a", function_name="tests.handlers.fail")
    assert [JobStatus.Queued, JobStatus.Failed, JobStatus.Aborted, JobStatus.Complete] == [
        status(app, job) for job in (first, second, cancelled, done)
    ]
    assert 2 == app.bulk_requeue_jobs()
    assert 0 == app.bulk_requeue_jobs()


def test_bulk_cancel(app: SyncWerk) -> None:
    """`bulk_cancel_jobs` takes all that has not started, of one queue if told so, and counts it."""
    jobs = [enqueued(app, _queue="a", _group=group) for group in (None, "g")]
    jobs += [enqueued(app, _queue="a", _delay=1000), enqueued(app, _queue="a", _depends_on=jobs[0])]
    other = enqueued(app, _queue="b")
    assert 4 == app.bulk_cancel_jobs("a")
    assert [JobStatus.Aborted] * 4 == [status(app, job) for job in jobs]
    assert JobStatus.Queued is status(app, other)
    assert 1 == app.bulk_cancel_jobs()
    assert 0 == app.bulk_cancel_jobs()


def test_bulk_in_batches(app: SyncWerk, dsn: str, schema: str) -> None:
    """More jobs than fit into one batch are all cancelled, requeued and purged, their history included."""
    app.enqueue_many([EnqueueParams(handlers.echo, (number,)) for number in range(1201)])
    assert 1201 == app.bulk_cancel_jobs()
    assert 1201 == app.bulk_requeue_jobs()
    _compat.burst(app, concurrency=500)
    assert 0 == app.purge_jobs(["failed", "aborted"], 0)
    assert 1201 == app.purge_jobs(JobStatus.Complete, 0)
    assert [] == app.list_jobs()
    for table in ("jobs", "executions"):
        assert 0 == _count(dsn, schema, table)


def test_bulk_by_ids(app: SyncWerk) -> None:
    """A bulk change that is given ids changes those that it can, and no others, and counts what it has changed."""
    first, second, third = [enqueued(app) for _ in range(3)]
    wanted = [second.id, first.id.upper(), first.id, UNKNOWN]
    assert 2 == app.bulk_cancel_jobs(ids=wanted)
    assert 0 == app.bulk_cancel_jobs(ids=wanted)
    assert 0 == app.bulk_cancel_jobs(ids=[])
    assert 1 == app.bulk_requeue_jobs(ids=[second.id, third.id])
    assert [JobStatus.Aborted, JobStatus.Queued, JobStatus.Queued] == [
        status(app, job) for job in (first, second, third)
    ]
    assert 2 == app.bulk_delete_jobs(wanted)
    assert 0 == app.bulk_delete_jobs(wanted)
    assert [third.id] == [job.id for job in app.list_jobs()]
    with pytest.raises(ValueError, match="ids cannot be given together with queue"):
        app.bulk_cancel_jobs("a", ids=[first.id])
    with pytest.raises(ValueError, match="ids cannot be given together with queue or function_name"):
        app.bulk_requeue_jobs(function_name="a", ids=[first.id])


def test_bulk_cancel_of_parents_and_children(app: SyncWerk) -> None:
    """Jobs that wait for each other are all cancelled, when all of them are to be; others that wait for them fail."""
    parent = enqueued(app)
    child = enqueued(app, _depends_on=parent)
    other = enqueued(app, _depends_on=child)
    assert 2 == app.bulk_cancel_jobs(ids=[parent.id, child.id])
    assert [JobStatus.Aborted, JobStatus.Aborted, JobStatus.Failed] == [
        status(app, job) for job in (parent, child, other)
    ]


def test_bulk_requeue_of_parents_and_children(app: SyncWerk) -> None:
    """Of jobs that wait for each other and are requeued together, each waits again."""
    parent = app.enqueue(handlers.fail)
    assert parent is not None
    child = enqueued(app, _depends_on=parent)
    _compat.burst(app)
    assert 2 == app.bulk_requeue_jobs(ids=[child.id, parent.id])
    assert [JobStatus.Queued, JobStatus.Waiting] == [status(app, job) for job in (parent, child)]


def test_bulk_delete_with_families(app: SyncWerk) -> None:
    """Whatever their statuses are, all go; a job that waits for one of them and stays fails, or runs if it may."""
    ended = failed(app, _queue="other")
    parent = enqueued(app)
    child = enqueued(app, _depends_on=parent)
    grandchild = enqueued(app, _depends_on=child)
    lenient = enqueued(app, _depends_on=Dependency(parent, allow_failure=True))
    later = enqueued(app, _delay=1000)
    assert 4 == app.bulk_delete_jobs([ended.id, parent.id, child.id, later.id])
    left = app.list_jobs()
    assert [(grandchild.id, JobStatus.Failed), (lenient.id, JobStatus.Queued)] == [(job.id, job.status) for job in left]
    assert (left[0].error or "").startswith(f"dependency failed: job {child.id}")


def test_bulk_delete_of_some_statuses(app: SyncWerk) -> None:
    """A job that has another status by the time it would be deleted stays, alone or with jobs that wait for it."""
    ended, parent = failed(app, _queue="other"), enqueued(app)
    child = enqueued(app, _depends_on=parent)
    ids = [ended.id, parent.id, child.id]
    assert 1 == app.bulk_delete_jobs(ids, status="failed")
    assert 0 == app.bulk_delete_jobs(ids, status=[JobStatus.Failed, JobStatus.Complete])
    assert [JobStatus.Queued, JobStatus.Waiting] == [status(app, job) for job in (parent, child)]
    with pytest.raises(ValueError, match="status must be one of"):
        app.bulk_delete_jobs(ids, status="gone")
    with pytest.raises(ValueError, match=r"ids\[0\] must be the id of a job"):
        app.bulk_delete_jobs(["no"])


def test_bulk_abort(app: SyncWerk) -> None:
    """Running jobs are asked to stop, and counted; others are left alone."""
    jobs = [app.enqueue(handlers.hang) for _ in range(2)]
    ids = [job.id for job in jobs if job is not None]
    later = enqueued(app, _delay=1000)
    told: list[int] = []
    with _compat.working(app):
        while len(app.list_jobs(status="active")) < len(ids):
            _compat.pause()
        assert 2 == app.bulk_abort_jobs([*ids, later.id, UNKNOWN], on_batch=told.append)
        for job_id in ids:
            ended = app.wait_for(job_id, timeout=20)
            assert JobStatus.Aborted is ended.status
    assert [2] == told
    assert JobStatus.Scheduled is status(app, later)


def test_bulk_reports_its_progress(app: SyncWerk) -> None:
    """Every bulk change says after each batch how many jobs it has changed so far."""
    jobs = app.enqueue_many([EnqueueParams(handlers.echo, (number,)) for number in range(501)])
    ids = [job.id for job in jobs if job is not None]
    told: list[int] = []
    app.bulk_cancel_jobs(on_batch=told.append)
    app.bulk_requeue_jobs(on_batch=told.append)
    app.bulk_cancel_jobs(ids=ids, on_batch=told.append)
    app.bulk_requeue_jobs(ids=ids[:500], on_batch=told.append)
    app.bulk_delete_jobs(ids[500:], on_batch=told.append)
    app.bulk_cancel_jobs(on_batch=told.append)
    app.purge_jobs("aborted", 0, on_batch=told.append)
    assert [500, 501, 500, 501, 500, 501, 500, 1, 500, 500] == told
    with pytest.raises(TypeError, match="on_batch must be a function"):
        app.purge_jobs("aborted", 0, on_batch=5)  # type: ignore[arg-type]


def test_dependents(app: SyncWerk) -> None:
    """The jobs that depend on a job are told, as long as they are there, in the order of their making."""
    parent = enqueued(app)
    children = [enqueued(app, _depends_on=parent) for _ in range(2)]
    grandchild = enqueued(app, _depends_on=children)
    assert [child.id for child in children] == app.get_dependents(parent.id)
    assert [] == app.get_dependents(grandchild.id)
    _compat.burst(app)
    app.delete_job(children[0].id)
    assert [children[1].id] == app.get_dependents(parent.id)
    for unknown in (UNKNOWN, "no"):
        with pytest.raises(JobNotFound):
            app.get_dependents(unknown)


def test_purge_by_age(app: SyncWerk, dsn: str, schema: str) -> None:
    """`purge_jobs` takes what ended long enough ago, and nothing that has not ended."""
    old, new = failed(app), failed(app)
    waiting = enqueued(app)
    _age(dsn, schema, old, days=8)
    assert 0 == app.purge_jobs(["complete"], 0)
    assert 1 == app.purge_jobs(["failed", "complete"], older_than_days=7)
    assert {new.id, waiting.id} == {job.id for job in app.list_jobs()}
    assert 1 == app.purge_jobs(("failed", JobStatus.Aborted), 0.0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((["complete", "queued"], 1), ValueError, "statuses must be one of 'complete', 'failed', 'aborted'"),
        (("active", 1), ValueError, "statuses must be one of"),
        (([], 1), ValueError, "statuses must not be empty"),
        ((5, 1), TypeError, "statuses must be a list"),
        ((["complete"], -1), ValueError, "older_than_days must be at least 0"),
        ((["complete"], "1"), TypeError, "older_than_days must be a number of days"),
        ((["complete"], 1e300), ValueError, "older_than_days must be at most 36525 days"),
        ((["complete"], float("nan")), ValueError, "older_than_days must be finite"),
    ],
)
def test_bad_purge_is_refused(app: SyncWerk, arguments: tuple[Any, Any], error: type[Exception], message: str) -> None:
    """A purge of what has not ended, or with an age that makes no sense, is refused, and deletes nothing."""
    enqueued(app)
    with pytest.raises(error) as caught:
        app.purge_jobs(*arguments)
    assert message in str(caught.value)
    assert 1 == len(app.list_jobs())


@pytest.mark.parametrize("bad", [5, "", "a\0b"])
def test_bad_bulk_filters_are_refused(app: SyncWerk, bad: Any) -> None:
    """A queue or a function that no job could have is refused by name."""
    with pytest.raises((TypeError, ValueError), match="queue"):
        app.bulk_cancel_jobs(bad)
    with pytest.raises((TypeError, ValueError), match="function_name"):
        app.bulk_requeue_jobs(function_name=bad)


def test_requeued_row_is_not_purged(app: SyncWerk, dsn: str, schema: str) -> None:
    """A failed job that is requeued while a sweep or a purge looks at it stays."""
    job = failed(app, _failure_ttl=1000)
    table = sql.Identifier(schema, "_pgwerk_jobs")
    with psycopg.Connection.connect(dsn) as connection:
        past = sql.SQL("UPDATE {} SET expires_at = now() - interval '1 s'").format(table)
        connection.execute(past)
        connection.commit()
        # Somebody requeues it, in a transaction that is not over when the sweep comes along.
        forged = "UPDATE {} SET status = 'queued', completed_at = NULL, expires_at = NULL, max_attempts = 2"
        connection.execute(sql.SQL(forged).format(table))
        app.sweep()
        assert 0 == app.purge_jobs("failed", 0)
        connection.commit()
    assert JobStatus.Queued is status(app, job)


def test_vacuum(app: SyncWerk, dsn: str, schema: str) -> None:
    """`vacuum` vacuums and analyzes every table."""
    enqueued(app)
    app.vacuum()
    with psycopg.Connection.connect(dsn) as connection:
        cursor = connection.execute(
            "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = %s AND c.relkind = 'r' AND c.reltuples < 0",
            [schema],
        )
        assert (0,) == cursor.fetchone()


def test_truncate(app: SyncWerk, make_app: MakeApp) -> None:
    """`truncate` deletes everything where it is allowed, and says how to allow it where it is not."""
    job = enqueued(app)
    enqueued(app, _depends_on=job)
    with pytest.raises(WerkError, match="allow_truncate=True"):
        app.truncate()
    assert 2 == len(app.list_jobs())
    allowed = make_app(config={"allow_truncate": True})
    allowed.truncate()
    assert [] == app.list_jobs()
    assert app.enqueue(handlers.echo) is not None


def test_cancelled_job_raises_from_apply(app: SyncWerk) -> None:
    """Who waits with `apply` for a job that is cancelled gets a `JobError` that says so."""
    waiting = _compat.spawn(app.apply, handlers.echo, timeout=20)
    jobs = app.list_jobs()
    while not jobs:
        _compat.pause()
        jobs = app.list_jobs()
    assert app.cancel_job(jobs[0].id)
    with pytest.raises(JobError, match="aborted: cancelled before it started"):
        waiting.result()


def _until_awaited(app: SyncWerk, job: Job) -> None:
    """Wait until the job is marked as awaited, which its waiter does when it already listens."""
    table = sql.Identifier(app.config.schema, f"{app.config.prefix}_jobs")
    query = sql.SQL("SELECT awaited FROM {} WHERE id = %s").format(table)
    with psycopg.Connection.connect(app.dsn, autocommit=True) as connection:
        while True:
            cursor = connection.execute(query, [job.id])
            if (True,) == cursor.fetchone():
                return
            _compat.pause()


def _count(dsn: str, schema: str, table: str) -> int:
    query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, f"_pgwerk_{table}"))
    with psycopg.Connection.connect(dsn) as connection:
        cursor = connection.execute(query)
        row = cursor.fetchone()
    assert row is not None
    return int(row[0])


def _age(dsn: str, schema: str, job: Job, *, days: int) -> None:
    query = sql.SQL("UPDATE {} SET completed_at = completed_at - %s * interval '1 day' WHERE id = %s")
    with psycopg.Connection.connect(dsn) as connection:
        connection.execute(query.format(sql.Identifier(schema, "_pgwerk_jobs")), [days, job.id])
