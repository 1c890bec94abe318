# Generated from tests/_async/test_waiting.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""`wait_for`, `apply` and `map`: by notification, with polling as fallback."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import conninfo
from tests import handlers
from tests._sync import _compat
from tests._sync.conftest import MakeApp

from pgwerk import DependencyFailed, EnqueueParams, Job, JobError, JobNotFound, JobStatus, Repeat, Retry, SyncWerk
from pgwerk._sync.looking import Answer, Looks

UNKNOWN = "01900000-0000-7000-8000-000000000000"


@pytest.fixture
def worked(app: SyncWerk) -> Iterator[SyncWerk]:
    """A client whose jobs a worker runs."""
    with _compat.working(app):
        yield app


@pytest.fixture
def named(dsn: str, schema: str) -> Iterator[SyncWerk]:
    """A client without a pool, whose sessions have the name of the schema."""
    app = SyncWerk(conninfo.make_conninfo(dsn, application_name=schema), schema=schema)
    yield app
    app.disconnect()


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


def test_failure_of_several_lines(worked: SyncWerk) -> None:
    """The message of a `JobError` ends with the exception's own line, also when its text goes on after that."""
    with pytest.raises(JobError, match=r"failed: ValueError: no luck$"):
        worked.apply(handlers.fail, "no luck\nDETAIL: none at all", timeout=20)


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


def test_map_of_a_generator(worked: SyncWerk) -> None:
    """`map` takes any iterable of any mappings, once, and what one of them says goes before what all share."""

    def numbers() -> Iterator[dict[str, int]]:
        item = {"b": 2}
        for number in range(3):
            item["a"] = number
            yield item

    assert [2, 3, 4] == worked.map(handlers.add, numbers(), b=1, timeout=20)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([{"a": 1}, 2], r"iter_kwargs\[1\] .* not int \(2\)"),
        ({"a": 1}, r"iter_kwargs\[0\] .* not str \('a'\)"),
        ([{"a": 1}, {"a": 1, 2: 3}], r"iter_kwargs\[1\] .* 2"),
        ([{"a": 1}, {}, {"a": 1, "_priority": 3}], r"iter_kwargs\[2\] .*'_priority'"),
    ],
)
def test_map_refuses_what_is_no_set_of_arguments(app: SyncWerk, items: Any, message: str) -> None:
    """What is no mapping, or has a key that is no argument, is refused by its place before anything is written."""
    with pytest.raises(TypeError, match=message):
        app.map(handlers.echo, items)
    assert [] == app.list_jobs()


def test_map_shares_its_options(worked: SyncWerk) -> None:
    """A group, a repetition and parents may be shared: what is waited for is the first run of each."""
    parent = worked.enqueue(handlers.echo)
    results = worked.map(
        handlers.echo,
        [{"n": 1}, {"n": 2}],
        timeout=20,
        _group="one at a time",
        _repeat=Repeat(times=1, interval=3600),
        _depends_on=parent,
    )
    assert [{"n": 1}, {"n": 2}] == results
    assert 2 == len(worked.list_jobs(status=JobStatus.Scheduled))


def test_map_of_jobs_that_cannot_start(worked: SyncWerk) -> None:
    """A job that could not start because of a parent gives a `DependencyFailed`, which is a `JobError`."""
    parent = worked.enqueue(handlers.fail)
    results = worked.map(handlers.echo, [{}, {}], timeout=20, return_exceptions=True, _depends_on=parent)
    assert [DependencyFailed, DependencyFailed] == [type(result) for result in results]


def test_map_raises_the_first_failure_in_time(app: SyncWerk, dsn: str, schema: str) -> None:
    """Of several failures, `map` raises the one that came first, whatever the order of the arguments."""
    mapping = _compat.spawn(app.map, handlers.echo, [{}, {}, {}], timeout=20, poll_interval=0.1)
    while len(app.list_jobs()) < 3:
        _compat.pause()
    with psycopg.Connection.connect(dsn) as connection:
        forged = f"""
            UPDATE {schema}."_pgwerk_jobs" j
            SET status = 'failed', error = 'E: ' || o.n, completed_at = now() - o.n * interval '1 second'
            FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM {schema}."_pgwerk_jobs") AS o
            WHERE j.id = o.id
        """
        connection.execute(forged.encode())
    with pytest.raises(JobError, match="E: 3"):
        mapping.result()


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


def test_deleted_job_ends_the_map(app: SyncWerk, dsn: str, schema: str) -> None:
    """A job of `map` that is deleted is an error, not a hang: there is no job that a `JobError` could be about."""
    mapping = _compat.spawn(app.map, handlers.echo, [{}, {}], timeout=20, poll_interval=0.1, return_exceptions=True)
    while not (jobs := app.list_jobs()):
        _compat.pause()
    with psycopg.Connection.connect(dsn) as connection:
        connection.execute(f"DELETE FROM {schema}.\"_pgwerk_jobs\" WHERE id = '{jobs[0].id}'".encode())
    with pytest.raises(JobNotFound, match=jobs[0].id):
        mapping.result()


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


def test_many_waiters_share_their_looks(named: SyncWerk, dsn: str, schema: str) -> None:
    """However many wait, without a pool, and end at once: there are but a few connections at any moment."""
    jobs = _enqueued(named, 150)
    waits = [_compat.spawn(named.wait_for, job.id, timeout=30, poll_interval=1000) for job in jobs]
    working = _compat.spawn(_burst_when_awaited, named, jobs)
    most = 0
    while any(wait.running() for wait in waits):
        most = max(most, _sessions(dsn, schema))
        _compat.pause()
    working.result()
    ended = [wait.result() for wait in waits]
    assert list(range(150)) == [job.result for job in ended]
    # The listener, what tries it out, and a look; those that have just been closed may still be there.
    assert 1 <= most <= 12


def test_many_waiters_share_their_polls(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, dsn: str, schema: str
) -> None:
    """Waiters with the same interval poll together, whenever they began, and so do those of one `map`."""
    looks: list[int] = []
    look = Looks.look

    def counted(self: Looks, ids: Collection[str], unmarked: Collection[str]) -> Answer:
        looks.append(len(ids))
        return look(self, ids, unmarked)

    monkeypatch.setattr(Looks, "look", counted)
    app = make_app(pool_size=2)
    jobs = _enqueued(app, 30)
    waits = []
    for job in jobs:
        waits.append(_compat.spawn(app.wait_for, job.id, timeout=30, poll_interval=1))
        _compat.pause()
    for job in jobs:
        _until_awaited(app, job.id)
    seen = len(looks)
    with psycopg.Connection.connect(dsn) as connection:
        while sum(looks[seen:]) < 60:
            _compat.pause()
        polls = len(looks) - seen
        connection.execute(f"UPDATE {schema}.\"_pgwerk_jobs\" SET status = 'aborted', completed_at = now()".encode())
    for wait in waits:
        wait.result()
    # Two of thirty each, or a few more when some waiters are late for the look.
    assert polls <= 20


def test_time_out_while_the_look_hangs(named: SyncWerk, dsn: str, schema: str) -> None:
    """A waiter gives up when its time is over, though the table is locked; what it asked for leaves nothing behind."""
    job = named.enqueue(handlers.echo)
    assert job is not None
    with _locked(dsn, schema):
        began = time.monotonic()
        with pytest.raises(TimeoutError, match=r"did not end within 0\.5 s"):
            named.wait_for(job.id, timeout=0.5)
        assert 0.5 <= time.monotonic() - began
    _until_no_session(dsn, schema)


def test_others_get_their_results_when_one_gives_up(named: SyncWerk, dsn: str, schema: str) -> None:
    """Who gives up in the middle of a look does not harm those who wait for the same look, or for the next one."""
    jobs = _enqueued(named, 4)
    with _locked(dsn, schema):
        first = _compat.spawn(named.wait_for, jobs[0].id, timeout=1)
        _until_blocked(dsn, schema, 1)
        others = [_compat.spawn(named.wait_for, job.id, timeout=30, poll_interval=1000) for job in jobs]
        with pytest.raises(TimeoutError):
            first.result()
        assert [True] * 4 == [other.running() for other in others]
        assert 1 == _blocked(dsn, schema)
    _burst_when_awaited(named, jobs)
    ended = [other.result() for other in others]
    assert list(range(4)) == [job.result for job in ended]


def test_error_of_a_look_reaches_all_who_share_it(named: SyncWerk, dsn: str, schema: str) -> None:
    """When a look fails, each of those who share it raises the error, and whoever asks then gets a new look."""
    jobs = _enqueued(named, 3)
    with _locked(dsn, schema):
        first = _compat.spawn(named.wait_for, jobs[0].id, timeout=20)
        _until_blocked(dsn, schema, 1)
        others = [_compat.spawn(named.wait_for, job.id, timeout=20) for job in jobs[1:]]
        while len(named._waiting._looks._desk()._asked) < 2:
            _compat.pause()
        _terminate_blocked(dsn, schema)
        with pytest.raises(psycopg.OperationalError):
            first.result()
        _until_blocked(dsn, schema, 1)
        _terminate_blocked(dsn, schema)
        errors = []
        for other in others:
            with pytest.raises(psycopg.OperationalError) as caught:
                other.result()
            errors.append(caught.value)
        assert errors[0] is not errors[1]
    _compat.burst(named)
    ended = named.wait_for(jobs[0].id, timeout=20)
    assert JobStatus.Complete is ended.status


def test_time_out_of_nothing_looks_once(app: SyncWerk) -> None:
    """With a time-out of 0, a job that has not ended is a `TimeoutError`, and nothing listens for it."""
    job = app.enqueue(handlers.echo)
    assert job is not None
    with pytest.raises(TimeoutError, match="did not end within 0 s"):
        app.wait_for(job.id, timeout=0)
    assert [] == list(app._listener._by_scope)


@pytest.mark.posix
def test_forked_child_waits_for_itself(make_app: MakeApp) -> None:
    """A child that is forked while the parent waits does so too, and neither disturbs the other."""
    app = make_app(pool_size=2)
    job = app.enqueue(handlers.echo, "both")
    assert job is not None
    waiting = _compat.spawn(app.wait_for, job.id, timeout=30)
    _until_awaited(app, job.id)
    child = os.fork()
    if child == 0:
        _compat.in_forked_child(app.wait_for, job.id, timeout=30)
    _compat.burst(app)
    assert 0 == _compat.exit_code(child)
    ended = waiting.result()
    assert "both" == ended.result


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
            "WHERE application_name = %s AND query LIKE '%%LISTEN pgwerk_done%%'",
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


def _enqueued(app: SyncWerk, count: int) -> list[Job]:
    """Jobs that give back their number."""
    jobs = app.enqueue_many([EnqueueParams(handlers.echo, (number,)) for number in range(count)])
    return [job for job in jobs if job is not None]


def _burst_when_awaited(app: SyncWerk, jobs: list[Job]) -> None:
    for job in jobs:
        _until_awaited(app, job.id)
    _compat.burst(app)


@contextlib.contextmanager
def _locked(dsn: str, schema: str) -> Iterator[None]:
    """Nobody can read the table of the jobs."""
    with psycopg.Connection.connect(dsn) as connection:
        connection.execute(f'LOCK TABLE {schema}."_pgwerk_jobs" IN ACCESS EXCLUSIVE MODE'.encode())
        yield


def _until_blocked(dsn: str, name: str, sessions: int) -> None:
    while sessions != _blocked(dsn, name):
        _compat.pause()


def _until_no_session(dsn: str, name: str) -> None:
    while _sessions(dsn, name):
        _compat.pause()


def _terminate_blocked(dsn: str, name: str) -> None:
    blocked = "application_name = %s AND wait_event_type = 'Lock'"
    _count(dsn, f"pg_stat_activity, pg_terminate_backend(pid) WHERE {blocked}", name)


def _blocked(dsn: str, name: str) -> int:
    return _count(dsn, "pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock'", name)


def _sessions(dsn: str, name: str) -> int:
    return _count(dsn, "pg_stat_activity WHERE application_name = %s", name)


def _listeners(dsn: str, name: str) -> int:
    listening = "query LIKE '%%LISTEN pgwerk_done%%'"
    return _count(dsn, f"pg_stat_activity WHERE application_name = %s AND {listening}", name)


def _count(dsn: str, rows: str, name: str) -> int:
    with psycopg.Connection.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(f"SELECT count(*) FROM {rows}".encode(), [name])
        row = cursor.fetchone()
    assert row is not None
    return int(row[0])
