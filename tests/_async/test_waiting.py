"""`wait_for`, `apply` and `map`: by notification, with polling as fallback."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator, Collection, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import conninfo
from tests import handlers
from tests._async import _compat
from tests._async.conftest import MakeApp

from pgwerk import DependencyFailed, EnqueueParams, Job, JobError, JobNotFound, JobStatus, Repeat, Retry, Werk
from pgwerk._async.looking import Answer, Looks

UNKNOWN = "01900000-0000-7000-8000-000000000000"


@pytest.fixture
async def worked(app: Werk) -> AsyncIterator[Werk]:
    """A client whose jobs a worker runs."""
    async with _compat.working(app):
        yield app


@pytest.fixture
async def named(dsn: str, schema: str) -> AsyncIterator[Werk]:
    """A client without a pool, whose sessions have the name of the schema."""
    app = Werk(conninfo.make_conninfo(dsn, application_name=schema), schema=schema)
    yield app
    await app.disconnect()


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


async def test_failure_of_several_lines(worked: Werk) -> None:
    """The message of a `JobError` ends with the exception's own line, also when its text goes on after that."""
    with pytest.raises(JobError, match=r"failed: ValueError: no luck$"):
        await worked.apply(handlers.fail, "no luck\nDETAIL: none at all", timeout=20)


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


async def test_map_of_a_generator(worked: Werk) -> None:
    """`map` takes any iterable of any mappings, once, and what one of them says goes before what all share."""

    def numbers() -> Iterator[dict[str, int]]:
        item = {"b": 2}
        for number in range(3):
            item["a"] = number
            yield item

    assert [2, 3, 4] == await worked.map(handlers.add, numbers(), b=1, timeout=20)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([{"a": 1}, 2], r"iter_kwargs\[1\] .* not int \(2\)"),
        ({"a": 1}, r"iter_kwargs\[0\] .* not str \('a'\)"),
        ([{"a": 1}, {"a": 1, 2: 3}], r"iter_kwargs\[1\] .* 2"),
        ([{"a": 1}, {}, {"a": 1, "_priority": 3}], r"iter_kwargs\[2\] .*'_priority'"),
    ],
)
async def test_map_refuses_what_is_no_set_of_arguments(app: Werk, items: Any, message: str) -> None:
    """What is no mapping, or has a key that is no argument, is refused by its place before anything is written."""
    with pytest.raises(TypeError, match=message):
        await app.map(handlers.echo, items)
    assert [] == await app.list_jobs()


async def test_map_shares_its_options(worked: Werk) -> None:
    """A group, a repetition and parents may be shared: what is waited for is the first run of each."""
    parent = await worked.enqueue(handlers.echo)
    results = await worked.map(
        handlers.echo,
        [{"n": 1}, {"n": 2}],
        timeout=20,
        _group="one at a time",
        _repeat=Repeat(times=1, interval=3600),
        _depends_on=parent,
    )
    assert [{"n": 1}, {"n": 2}] == results
    assert 2 == len(await worked.list_jobs(status=JobStatus.Scheduled))


async def test_map_of_jobs_that_cannot_start(worked: Werk) -> None:
    """A job that could not start because of a parent gives a `DependencyFailed`, which is a `JobError`."""
    parent = await worked.enqueue(handlers.fail)
    results = await worked.map(handlers.echo, [{}, {}], timeout=20, return_exceptions=True, _depends_on=parent)
    assert [DependencyFailed, DependencyFailed] == [type(result) for result in results]


async def test_map_raises_the_first_failure_in_time(app: Werk, dsn: str, schema: str) -> None:
    """Of several failures, `map` raises the one that came first, whatever the order of the arguments."""
    mapping = _compat.spawn(app.map, handlers.echo, [{}, {}, {}], timeout=20, poll_interval=0.1)
    while len(await app.list_jobs()) < 3:
        await _compat.pause()
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        forged = f"""
            UPDATE {schema}."_pgwerk_jobs" j
            SET status = 'failed', error = 'E: ' || o.n, completed_at = now() - o.n * interval '1 second'
            FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM {schema}."_pgwerk_jobs") AS o
            WHERE j.id = o.id
        """
        await connection.execute(forged.encode())
    with pytest.raises(JobError, match="E: 3"):
        await mapping.result()


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


async def test_deleted_job_ends_the_map(app: Werk, dsn: str, schema: str) -> None:
    """A job of `map` that is deleted is an error, not a hang: there is no job that a `JobError` could be about."""
    mapping = _compat.spawn(app.map, handlers.echo, [{}, {}], timeout=20, poll_interval=0.1, return_exceptions=True)
    while not (jobs := await app.list_jobs()):
        await _compat.pause()
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        await connection.execute(f"DELETE FROM {schema}.\"_pgwerk_jobs\" WHERE id = '{jobs[0].id}'".encode())
    with pytest.raises(JobNotFound, match=jobs[0].id):
        await mapping.result()


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


async def test_many_waiters_share_their_looks(named: Werk, dsn: str, schema: str) -> None:
    """However many wait, without a pool, and end at once: there are but a few connections at any moment."""
    jobs = await _enqueued(named, 150)
    waits = [_compat.spawn(named.wait_for, job.id, timeout=30, poll_interval=1000) for job in jobs]
    working = _compat.spawn(_burst_when_awaited, named, jobs)
    most = 0
    while any(wait.running() for wait in waits):
        most = max(most, await _sessions(dsn, schema))
        await _compat.pause()
    await working.result()
    ended = [await wait.result() for wait in waits]
    assert list(range(150)) == [job.result for job in ended]
    # The listener, what tries it out, and a look; those that have just been closed may still be there.
    assert 1 <= most <= 12


async def test_many_waiters_share_their_polls(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, dsn: str, schema: str
) -> None:
    """Waiters with the same interval poll together, whenever they began, and so do those of one `map`."""
    looks: list[int] = []
    look = Looks.look

    async def counted(self: Looks, ids: Collection[str], unmarked: Collection[str]) -> Answer:
        looks.append(len(ids))
        return await look(self, ids, unmarked)

    monkeypatch.setattr(Looks, "look", counted)
    app = make_app(pool_size=2)
    jobs = await _enqueued(app, 30)
    waits = []
    for job in jobs:
        waits.append(_compat.spawn(app.wait_for, job.id, timeout=30, poll_interval=1))
        await _compat.pause()
    for job in jobs:
        await _until_awaited(app, job.id)
    seen = len(looks)
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        while sum(looks[seen:]) < 60:
            await _compat.pause()
        polls = len(looks) - seen
        await connection.execute(
            f"UPDATE {schema}.\"_pgwerk_jobs\" SET status = 'aborted', completed_at = now()".encode()
        )
    for wait in waits:
        await wait.result()
    # Two of thirty each, or a few more when some waiters are late for the look.
    assert polls <= 20


async def test_time_out_while_the_look_hangs(named: Werk, dsn: str, schema: str) -> None:
    """A waiter gives up when its time is over, though the table is locked; what it asked for leaves nothing behind."""
    job = await named.enqueue(handlers.echo)
    assert job is not None
    async with _locked(dsn, schema):
        began = time.monotonic()
        with pytest.raises(TimeoutError, match=r"did not end within 0\.5 s"):
            await named.wait_for(job.id, timeout=0.5)
        assert 0.5 <= time.monotonic() - began
    await _until_no_session(dsn, schema)


async def test_others_get_their_results_when_one_gives_up(named: Werk, dsn: str, schema: str) -> None:
    """Who gives up in the middle of a look does not harm those who wait for the same look, or for the next one."""
    jobs = await _enqueued(named, 4)
    async with _locked(dsn, schema):
        first = _compat.spawn(named.wait_for, jobs[0].id, timeout=1)
        await _until_blocked(dsn, schema, 1)
        others = [_compat.spawn(named.wait_for, job.id, timeout=30, poll_interval=1000) for job in jobs]
        with pytest.raises(TimeoutError):
            await first.result()
        assert [True] * 4 == [other.running() for other in others]
        assert 1 == await _blocked(dsn, schema)
    await _burst_when_awaited(named, jobs)
    ended = [await other.result() for other in others]
    assert list(range(4)) == [job.result for job in ended]


async def test_error_of_a_look_reaches_all_who_share_it(named: Werk, dsn: str, schema: str) -> None:
    """When a look fails, each of those who share it raises the error, and whoever asks then gets a new look."""
    jobs = await _enqueued(named, 3)
    async with _locked(dsn, schema):
        first = _compat.spawn(named.wait_for, jobs[0].id, timeout=20)
        await _until_blocked(dsn, schema, 1)
        others = [_compat.spawn(named.wait_for, job.id, timeout=20) for job in jobs[1:]]
        while len(named._waiting._looks._desk()._asked) < 2:
            await _compat.pause()
        await _terminate_blocked(dsn, schema)
        with pytest.raises(psycopg.OperationalError):
            await first.result()
        await _until_blocked(dsn, schema, 1)
        await _terminate_blocked(dsn, schema)
        errors = []
        for other in others:
            with pytest.raises(psycopg.OperationalError) as caught:
                await other.result()
            errors.append(caught.value)
        assert errors[0] is not errors[1]
    await _compat.burst(named)
    ended = await named.wait_for(jobs[0].id, timeout=20)
    assert JobStatus.Complete is ended.status


async def test_time_out_of_nothing_looks_once(app: Werk) -> None:
    """With a time-out of 0, a job that has not ended is a `TimeoutError`, and nothing listens for it."""
    job = await app.enqueue(handlers.echo)
    assert job is not None
    with pytest.raises(TimeoutError, match="did not end within 0 s"):
        await app.wait_for(job.id, timeout=0)
    assert [] == list(app._listener._by_scope)


@pytest.mark.posix
async def test_forked_child_waits_for_itself(make_app: MakeApp) -> None:
    """A child that is forked while the parent waits does so too, and neither disturbs the other."""
    app = make_app(pool_size=2)
    job = await app.enqueue(handlers.echo, "both")
    assert job is not None
    waiting = _compat.spawn(app.wait_for, job.id, timeout=30)
    await _until_awaited(app, job.id)
    child = os.fork()
    if child == 0:
        _compat.in_forked_child(app.wait_for, job.id, timeout=30)
    await _compat.burst(app)
    assert 0 == _compat.exit_code(child)
    ended = await waiting.result()
    assert "both" == ended.result


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
            "WHERE application_name = %s AND query LIKE '%%LISTEN pgwerk_done%%'",
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


async def _enqueued(app: Werk, count: int) -> list[Job]:
    """Jobs that give back their number."""
    jobs = await app.enqueue_many([EnqueueParams(handlers.echo, (number,)) for number in range(count)])
    return [job for job in jobs if job is not None]


async def _burst_when_awaited(app: Werk, jobs: list[Job]) -> None:
    for job in jobs:
        await _until_awaited(app, job.id)
    await _compat.burst(app)


@contextlib.asynccontextmanager
async def _locked(dsn: str, schema: str) -> AsyncIterator[None]:
    """Nobody can read the table of the jobs."""
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        await connection.execute(f'LOCK TABLE {schema}."_pgwerk_jobs" IN ACCESS EXCLUSIVE MODE'.encode())
        yield


async def _until_blocked(dsn: str, name: str, sessions: int) -> None:
    while sessions != await _blocked(dsn, name):
        await _compat.pause()


async def _until_no_session(dsn: str, name: str) -> None:
    while await _sessions(dsn, name):
        await _compat.pause()


async def _terminate_blocked(dsn: str, name: str) -> None:
    blocked = "application_name = %s AND wait_event_type = 'Lock'"
    await _count(dsn, f"pg_stat_activity, pg_terminate_backend(pid) WHERE {blocked}", name)


async def _blocked(dsn: str, name: str) -> int:
    return await _count(dsn, "pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock'", name)


async def _sessions(dsn: str, name: str) -> int:
    return await _count(dsn, "pg_stat_activity WHERE application_name = %s", name)


async def _listeners(dsn: str, name: str) -> int:
    listening = "query LIKE '%%LISTEN pgwerk_done%%'"
    return await _count(dsn, f"pg_stat_activity WHERE application_name = %s AND {listening}", name)


async def _count(dsn: str, rows: str, name: str) -> int:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        cursor = await connection.execute(f"SELECT count(*) FROM {rows}".encode(), [name])
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
