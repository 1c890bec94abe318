"""`wait_for`, `apply` and `map`: by notification, with polling as fallback."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from psycopg import conninfo
from tests import handlers
from tests._async import _compat

from pgwerk import JobError, JobNotFound, JobStatus, Retry, Werk

UNKNOWN = "01900000-0000-7000-8000-000000000000"


@pytest.fixture
async def worked(app: Werk) -> AsyncIterator[Werk]:
    """A client whose jobs a worker runs."""
    async with _compat.working(app):
        yield app


async def test_apply_gives_the_result(worked: Werk) -> None:
    """`apply` returns what the handler returned, of whichever flavour the handler is."""
    assert 5 == await worked.apply(handlers.add, 2, b=3, timeout=20)
    assert {"word": "x"} == await worked.apply(handlers.plain_echo, word="x", timeout=20)


@pytest.mark.parametrize("value", ["123", "null", "", None, 0, False, [], (1, 2), {"a": None}, 1e16, -0.0, b"\0"])
async def test_result_keeps_its_type(worked: Werk, value: Any) -> None:
    """A result comes back as what it was, also when it looks like something else."""
    result = await worked.apply(handlers.echo, value, timeout=20)
    assert (type(value), repr(value)) == (type(result), repr(result))


async def test_apply_raises_the_failure(worked: Werk) -> None:
    """`apply` raises a `JobError` whose message ends with the handler's exception line, and which has the job."""
    with pytest.raises(JobError) as caught:
        await worked.apply(handlers.fail, "no luck", timeout=20)
    assert str(caught.value).endswith("ValueError: no luck")
    assert JobStatus.Failed is caught.value.job.status


async def test_apply_times_out(app: Werk) -> None:
    """When the job does not end in time, the built-in `TimeoutError` is raised, and the job stays."""
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"did not end within 0\.2 s"):
        await app.apply(handlers.echo, timeout=0.2)
    assert 0.2 <= time.monotonic() - began
    assert [JobStatus.Queued] == [job.status for job in await app.list_jobs()]


async def test_apply_refuses_what_could_never_end(app: Werk, dsn: str) -> None:
    """In the caller's transaction, and for a job that exists already, `apply` and `map` are refused."""
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        with pytest.raises(ValueError, match="_conn cannot be given here"):
            await app.apply(handlers.echo, _conn=connection)
    with pytest.raises(ValueError, match="only the first would be enqueued"):
        await app.map(handlers.echo, [{}, {}], _key="k")
    assert [] == await app.list_jobs()
    await app.enqueue(handlers.echo, _key="k")
    with pytest.raises(ValueError, match="'k' exists already"):
        await app.apply(handlers.echo, _key="k")


async def test_map_keeps_the_order(worked: Werk) -> None:
    """`map` returns the results in the order of the arguments, whatever order they come in."""
    results = await worked.map(handlers.add, [{"a": number} for number in range(300)], b=1, timeout=30)
    assert list(range(1, 301)) == results
    assert [] == await worked.map(handlers.add, [])


async def test_map_raises_the_first_failure(worked: Werk) -> None:
    """Without `return_exceptions`, `map` raises a failure, and the other jobs are left to finish."""
    with pytest.raises(JobError):
        await worked.map(handlers.add, [{"a": 1}, {"a": "x"}, {"a": 2}], timeout=20)
    statuses = [JobStatus.Complete, JobStatus.Failed, JobStatus.Complete]
    while statuses != [job.status for job in await worked.list_jobs()]:
        await _compat.pause()


async def test_map_returns_failures_in_place(worked: Werk) -> None:
    """With `return_exceptions`, a job that failed gives a `JobError` in its place."""
    results = await worked.map(
        handlers.add, [{"a": 1}, {"a": "x"}, {"a": 2}], timeout=20, return_exceptions=True, _priority=3
    )
    assert [2, JobError, 3] == [type(each) if isinstance(each, JobError) else each for each in results]
    assert {3} == {job.priority for job in await worked.list_jobs()}


async def test_wait_for_a_job_that_is_over(app: Werk) -> None:
    """Waiting for a job that has ended returns at once."""
    job = await app.enqueue(handlers.echo, 1)
    assert job is not None
    await _compat.burst(app)
    ended = await app.wait_for(job.id, timeout=0)
    assert (JobStatus.Complete, 1) == (ended.status, ended.result)


@pytest.mark.parametrize("job_id", [UNKNOWN, "not a uuid", ""])
async def test_wait_for_a_job_that_is_not_there(app: Werk, job_id: str) -> None:
    """Waiting for a job that does not exist is an error, not a wait."""
    with pytest.raises(JobNotFound):
        await app.wait_for(job_id)


async def test_notification_wakes_the_waiter(app: Werk) -> None:
    """The end of a job wakes its waiter without polling."""
    job = await app.enqueue(handlers.echo, 1)
    assert job is not None
    waiting = _compat.spawn(app.wait_for, job.id, timeout=20, poll_interval=1000)
    await _until_awaited(app, job.id)
    await _compat.burst(app)
    ended = await waiting.result()
    assert JobStatus.Complete is ended.status


async def test_polling_finds_the_end_without_notification(app: Werk, dsn: str, schema: str) -> None:
    """When no notification comes, the waiter finds the end of the job by polling."""
    job = await app.enqueue(handlers.echo, 1)
    assert job is not None
    waiting = _compat.spawn(app.wait_for, job.id, timeout=20, poll_interval=0.1)
    await _until_awaited(app, job.id)
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        forged = f"UPDATE {schema}.\"_pgwerk_jobs\" SET status = 'aborted', completed_at = now()"
        await connection.execute(forged.encode())
    ended = await waiting.result()
    assert JobStatus.Aborted is ended.status


async def test_deleted_job_ends_the_wait(app: Werk, dsn: str, schema: str) -> None:
    """A job that is deleted while somebody waits is an error, not a hang."""
    job = await app.enqueue(handlers.echo, 1)
    assert job is not None
    waiting = _compat.spawn(app.wait_for, job.id, timeout=20, poll_interval=0.1)
    await _until_awaited(app, job.id)
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        await connection.execute(f'DELETE FROM {schema}."_pgwerk_jobs"'.encode())
    with pytest.raises(JobNotFound):
        await waiting.result()


async def test_row_is_kept_for_who_waits(worked: Werk) -> None:
    """A row that would be removed at once stays until whoever waits has read it."""
    assert 1 == await worked.apply(handlers.echo, 1, _result_ttl=0, timeout=20)
    with pytest.raises(JobError, match="ValueError: gone"):
        await worked.apply(handlers.fail, "gone", _failure_mode="delete", timeout=20)


async def test_many_waiters_share_a_connection(dsn: str, schema: str) -> None:
    """However many wait, one connection listens, and it ends with the last waiter."""
    app = Werk(conninfo.make_conninfo(dsn, application_name=schema), schema=schema, pool_size=2)
    jobs = [await app.enqueue(handlers.echo, number) for number in range(10)]
    waits = [_compat.spawn(app.wait_for, job.id, timeout=20, poll_interval=1000) for job in jobs if job is not None]
    for job in jobs:
        assert job is not None
        await _until_awaited(app, job.id)
    assert 1 == await _listeners(dsn, schema)
    await _compat.burst(app)
    ended = [await wait.result() for wait in waits]
    assert list(range(10)) == sorted(job.result for job in ended)
    while await _listeners(dsn, schema):
        await _compat.pause()
    await app.disconnect()


async def test_waiter_survives_the_loss_of_its_listener(dsn: str, schema: str) -> None:
    """When the listening connection is cut, waiting goes on, and the job's end is still found."""
    app = Werk(conninfo.make_conninfo(dsn, application_name=schema), schema=schema, pool_size=2)
    job = await app.enqueue(handlers.echo, 1)
    assert job is not None
    waiting = _compat.spawn(app.wait_for, job.id, timeout=30, poll_interval=1000)
    await _until_awaited(app, job.id)
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = %s AND query LIKE 'LISTEN%%'",
            [schema],
        )
    await _compat.burst(app)
    ended = await waiting.result()
    assert JobStatus.Complete is ended.status
    await app.disconnect()


async def test_retried_job_is_waited_for_to_its_end(worked: Werk) -> None:
    """A failed attempt that is tried again is not the end of the job."""
    with pytest.raises(JobError) as caught:
        await worked.apply(handlers.fail, _retry=Retry(max=3), timeout=20)
    assert 3 == caught.value.job.attempts


@pytest.mark.parametrize(
    ("options", "error"),
    [({"timeout": -1}, ValueError), ({"poll_interval": 0}, ValueError), ({"timeout": "1"}, TypeError)],
)
async def test_bad_patience_is_refused(app: Werk, options: dict[str, Any], error: type[Exception]) -> None:
    """A time-out below zero, no poll interval, and anything but numbers are refused before anything is written."""
    with pytest.raises(error):
        await app.apply(handlers.echo, **options)
    with pytest.raises(error):
        await app.wait_for(UNKNOWN, **options)
    assert [] == await app.list_jobs()


async def _until_awaited(app: Werk, job_id: str) -> None:
    """Wait until the job is marked as awaited, which its waiter does when it already listens."""
    table = f'{app.config.schema}."{app.config.prefix}_jobs"'
    async with await psycopg.AsyncConnection.connect(app.dsn, autocommit=True) as connection:
        while True:
            cursor = await connection.execute(f"SELECT awaited FROM {table} WHERE id = '{job_id}'".encode())
            if (True,) == await cursor.fetchone():
                return
            await _compat.pause()


async def _listeners(dsn: str, name: str) -> int:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        cursor = await connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND query LIKE 'LISTEN%%'", [name]
        )
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
