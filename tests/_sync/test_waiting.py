# Generated from tests/_async/test_waiting.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""`wait_for`, `apply` and `map`: by notification, with polling as fallback."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import conninfo
from tests import handlers
from tests._sync import _compat

from pgwerk import JobError, JobNotFound, JobStatus, Retry, SyncWerk

UNKNOWN = "01900000-0000-7000-8000-000000000000"


@pytest.fixture
def worked(app: SyncWerk) -> Iterator[SyncWerk]:
    """A client whose jobs a worker runs."""
    with _compat.working(app):
        yield app


def test_apply_gives_the_result(worked: SyncWerk) -> None:
    """`apply` returns what the handler returned, of whichever flavour the handler is."""
    assert 5 == worked.apply(handlers.add, 2, b=3, timeout=20)
    assert {"word": "x"} == worked.apply(handlers.plain_echo, word="x", timeout=20)


@pytest.mark.parametrize("value", ["123", "null", "", None, 0, False, [], (1, 2), {"a": None}, 1e16, -0.0, b"\0"])
def test_result_keeps_its_type(worked: SyncWerk, value: Any) -> None:
    """A result comes back as what it was, also when it looks like something else."""
    result = worked.apply(handlers.echo, value, timeout=20)
    assert (type(value), repr(value)) == (type(result), repr(result))


def test_apply_raises_the_failure(worked: SyncWerk) -> None:
    """`apply` raises a `JobError` whose message ends with the handler's exception line, and which has the job."""
    with pytest.raises(JobError) as caught:
        worked.apply(handlers.fail, "no luck", timeout=20)
    assert str(caught.value).endswith("ValueError: no luck")
    assert JobStatus.Failed is caught.value.job.status


def test_apply_times_out(app: SyncWerk) -> None:
    """When the job does not end in time, the built-in `TimeoutError` is raised, and the job stays."""
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"did not end within 0\.2 s"):
        app.apply(handlers.echo, timeout=0.2)
    assert 0.2 <= time.monotonic() - began
    assert [JobStatus.Queued] == [job.status for job in app.list_jobs()]


def test_apply_refuses_what_could_never_end(app: SyncWerk, dsn: str) -> None:
    """In the caller's transaction, and for a job that exists already, `apply` and `map` are refused."""
    with psycopg.Connection.connect(dsn) as connection:
        with pytest.raises(ValueError, match="_conn cannot be given here"):
            app.apply(handlers.echo, _conn=connection)
    with pytest.raises(ValueError, match="only the first would be enqueued"):
        app.map(handlers.echo, [{}, {}], _key="k")
    assert [] == app.list_jobs()
    app.enqueue(handlers.echo, _key="k")
    with pytest.raises(ValueError, match="'k' exists already"):
        app.apply(handlers.echo, _key="k")


def test_map_keeps_the_order(worked: SyncWerk) -> None:
    """`map` returns the results in the order of the arguments, whatever order they come in."""
    results = worked.map(handlers.add, [{"a": number} for number in range(300)], b=1, timeout=30)
    assert list(range(1, 301)) == results
    assert [] == worked.map(handlers.add, [])


def test_map_raises_the_first_failure(worked: SyncWerk) -> None:
    """Without `return_exceptions`, `map` raises a failure, and the other jobs are left to finish."""
    with pytest.raises(JobError):
        worked.map(handlers.add, [{"a": 1}, {"a": "x"}, {"a": 2}], timeout=20)
    statuses = [JobStatus.Complete, JobStatus.Failed, JobStatus.Complete]
    while statuses != [job.status for job in worked.list_jobs()]:
        _compat.pause()


def test_map_returns_failures_in_place(worked: SyncWerk) -> None:
    """With `return_exceptions`, a job that failed gives a `JobError` in its place."""
    results = worked.map(
        handlers.add, [{"a": 1}, {"a": "x"}, {"a": 2}], timeout=20, return_exceptions=True, _priority=3
    )
    assert [2, JobError, 3] == [type(each) if isinstance(each, JobError) else each for each in results]
    assert {3} == {job.priority for job in worked.list_jobs()}


def test_wait_for_a_job_that_is_over(app: SyncWerk) -> None:
    """Waiting for a job that has ended returns at once."""
    job = app.enqueue(handlers.echo, 1)
    assert job is not None
    _compat.burst(app)
    ended = app.wait_for(job.id, timeout=0)
    assert (JobStatus.Complete, 1) == (ended.status, ended.result)


@pytest.mark.parametrize("job_id", [UNKNOWN, "not a uuid", ""])
def test_wait_for_a_job_that_is_not_there(app: SyncWerk, job_id: str) -> None:
    """Waiting for a job that does not exist is an error, not a wait."""
    with pytest.raises(JobNotFound):
        app.wait_for(job_id)


def test_notification_wakes_the_waiter(app: SyncWerk) -> None:
    """The end of a job wakes its waiter without polling."""
    job = app.enqueue(handlers.echo, 1)
    assert job is not None
    waiting = _compat.spawn(app.wait_for, job.id, timeout=20, poll_interval=1000)
    _until_awaited(app, job.id)
    _compat.burst(app)
    ended = waiting.result()
    assert JobStatus.Complete is ended.status


def test_polling_finds_the_end_without_notification(app: SyncWerk, dsn: str, schema: str) -> None:
    """When no notification comes, the waiter finds the end of the job by polling."""
    job = app.enqueue(handlers.echo, 1)
    assert job is not None
    waiting = _compat.spawn(app.wait_for, job.id, timeout=20, poll_interval=0.1)
    _until_awaited(app, job.id)
    with psycopg.Connection.connect(dsn) as connection:
        forged = f"UPDATE {schema}.\"_pgwerk_jobs\" SET status = 'aborted', completed_at = now()"
        connection.execute(forged.encode())
    ended = waiting.result()
    assert JobStatus.Aborted is ended.status


def test_deleted_job_ends_the_wait(app: SyncWerk, dsn: str, schema: str) -> None:
    """A job that is deleted while somebody waits is an error, not a hang."""
    job = app.enqueue(handlers.echo, 1)
    assert job is not None
    waiting = _compat.spawn(app.wait_for, job.id, timeout=20, poll_interval=0.1)
    _until_awaited(app, job.id)
    with psycopg.Connection.connect(dsn) as connection:
        connection.execute(f'DELETE FROM {schema}."_pgwerk_jobs"'.encode())
    with pytest.raises(JobNotFound):
        waiting.result()


def test_row_is_kept_for_who_waits(worked: SyncWerk) -> None:
    """A row that would be removed at once stays until whoever waits has read it."""
    assert 1 == worked.apply(handlers.echo, 1, _result_ttl=0, timeout=20)
    with pytest.raises(JobError, match="ValueError: gone"):
        worked.apply(handlers.fail, "gone", _failure_mode="delete", timeout=20)


def test_many_waiters_share_a_connection(dsn: str, schema: str) -> None:
    """However many wait, one connection listens, and it ends with the last waiter."""
    app = SyncWerk(conninfo.make_conninfo(dsn, application_name=schema), schema=schema, pool_size=2)
    jobs = [app.enqueue(handlers.echo, number) for number in range(10)]
    waits = [_compat.spawn(app.wait_for, job.id, timeout=20, poll_interval=1000) for job in jobs if job is not None]
    for job in jobs:
        assert job is not None
        _until_awaited(app, job.id)
    assert 1 == _listeners(dsn, schema)
    _compat.burst(app)
    ended = [wait.result() for wait in waits]
    assert list(range(10)) == sorted(job.result for job in ended)
    while _listeners(dsn, schema):
        _compat.pause()
    app.disconnect()


def test_waiter_survives_the_loss_of_its_listener(dsn: str, schema: str) -> None:
    """When the listening connection is cut, waiting goes on, and the job's end is still found."""
    app = SyncWerk(conninfo.make_conninfo(dsn, application_name=schema), schema=schema, pool_size=2)
    job = app.enqueue(handlers.echo, 1)
    assert job is not None
    waiting = _compat.spawn(app.wait_for, job.id, timeout=30, poll_interval=1000)
    _until_awaited(app, job.id)
    with psycopg.Connection.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = %s AND query LIKE 'LISTEN%%'",
            [schema],
        )
    _compat.burst(app)
    ended = waiting.result()
    assert JobStatus.Complete is ended.status
    app.disconnect()


def test_retried_job_is_waited_for_to_its_end(worked: SyncWerk) -> None:
    """A failed attempt that is tried again is not the end of the job."""
    with pytest.raises(JobError) as caught:
        worked.apply(handlers.fail, _retry=Retry(max=3), timeout=20)
    assert 3 == caught.value.job.attempts


@pytest.mark.parametrize(
    ("options", "error"),
    [({"timeout": -1}, ValueError), ({"poll_interval": 0}, ValueError), ({"timeout": "1"}, TypeError)],
)
def test_bad_patience_is_refused(app: SyncWerk, options: dict[str, Any], error: type[Exception]) -> None:
    """A time-out below zero, no poll interval, and anything but numbers are refused before anything is written."""
    with pytest.raises(error):
        app.apply(handlers.echo, **options)
    with pytest.raises(error):
        app.wait_for(UNKNOWN, **options)
    assert [] == app.list_jobs()


def _until_awaited(app: SyncWerk, job_id: str) -> None:
    """Wait until the job is marked as awaited, which its waiter does when it already listens."""
    table = f'{app.config.schema}."{app.config.prefix}_jobs"'
    with psycopg.Connection.connect(app.dsn, autocommit=True) as connection:
        while True:
            cursor = connection.execute(f"SELECT awaited FROM {table} WHERE id = '{job_id}'".encode())
            if (True,) == cursor.fetchone():
                return
            _compat.pause()


def _listeners(dsn: str, name: str) -> int:
    with psycopg.Connection.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND query LIKE 'LISTEN%%'", [name]
        )
        row = cursor.fetchone()
    assert row is not None
    return int(row[0])
