# Generated from tests/_async/test_enqueue.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""`enqueue` and `enqueue_many`: what is stored, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
from attrs import evolve
from tests import handlers
from tests._sync import _compat

from pgwerk import (
    Callback,
    Dependency,
    EnqueueParams,
    Job,
    JobNotFound,
    JobStatus,
    Repeat,
    Retry,
    SerializationError,
    SyncWerk,
)

UNKNOWN = "01900000-0000-7000-8000-000000000000"


def enqueued(app: SyncWerk, *args: Any, **options: Any) -> Job:
    """Enqueue a job, and read it back."""
    job = app.enqueue(handlers.echo, *args, **options)
    assert job is not None
    return app.get_job(job.id)


def test_returns_the_job_as_it_is_stored(app: SyncWerk) -> None:
    """What `enqueue` returns equals what `get_job` reads."""
    job = app.enqueue(handlers.echo, 1, word="two", _queue="mail", _priority=7, _retry=3, _meta={"a": [1]})
    assert job is not None
    assert app.get_job(job.id) == job


def test_stores_every_option(app: SyncWerk) -> None:
    """Each option of the reference ends up in its field."""
    at = datetime(2100, 1, 1, 12, tzinfo=UTC)
    job = enqueued(
        app,
        1,
        word="two",
        _queue="mail",
        _priority=-5,
        _at=at,
        _retry=Retry(max=4, intervals=[10, 60]),
        _timeout=30,
        _heartbeat=20,
        _key="the key",
        _group="the group",
        _meta={"tags": ["x"]},
        _result_ttl=0,
        _failure_ttl=100,
        _ttl=200,
        _on_success=Callback(handlers.echo, timeout=5),
        _on_failure=handlers.fail,
        _on_stopped="some.module.function",
        _repeat=Repeat(times=3, interval=5, intervals=[1, 2]),
        _failure_mode="delete",
    )
    expected = Job(
        id=job.id,
        function="tests.handlers.echo",
        queue="mail",
        status=JobStatus.Scheduled,
        priority=-5,
        attempts=0,
        max_attempts=4,
        scheduled_at=at,
        enqueued_at=job.enqueued_at,
        key="the key",
        group_key="the group",
        payload={"args": [1], "kwargs": {"word": "two"}},
        timeout_secs=30,
        heartbeat_secs=20,
        expires_at=at + timedelta(seconds=200),
        meta={"tags": ["x"]},
        result_ttl=0,
        failure_ttl=100,
        ttl=200,
        on_success="tests.handlers.echo",
        on_failure="tests.handlers.fail",
        on_stopped="some.module.function",
        retry_intervals=[10, 60],
        repeat_remaining=3,
        repeat_interval_secs=5,
        repeat_intervals=[1, 2],
        failure_mode="delete",
    )
    assert expected == job


def test_stores_the_defaults_of_the_reference(app: SyncWerk) -> None:
    """A job without options is in the queue "default", ready, with priority 0 and one attempt."""
    job = enqueued(app)
    expected = Job(
        id=job.id,
        function="tests.handlers.echo",
        queue="default",
        status=JobStatus.Queued,
        priority=0,
        attempts=0,
        max_attempts=1,
        scheduled_at=job.enqueued_at,
        enqueued_at=job.enqueued_at,
        payload={"args": [], "kwargs": {}},
    )
    assert expected == job


def test_ids_sort_by_time(app: SyncWerk) -> None:
    """Jobs that are enqueued one after the other have ascending ids."""
    jobs = [app.enqueue(handlers.echo, number) for number in range(5)]
    ids = [job.id for job in jobs if job is not None]
    assert sorted(ids) == ids


def test_delay_is_counted_by_the_database(app: SyncWerk) -> None:
    """`_delay` is added to the time of the insert; a `timedelta` is taken as well."""
    for delay in (90, 90.0, timedelta(minutes=1.5)):
        job = enqueued(app, _delay=delay)
        assert (JobStatus.Scheduled, timedelta(seconds=90)) == (job.status, job.scheduled_at - job.enqueued_at)


def test_at_is_taken_as_utc_and_converted(app: SyncWerk) -> None:
    """A naive `_at` is UTC, one with a zone is converted, and one in the past is due at once."""
    naive = enqueued(app, _at=datetime(2100, 1, 1, 12))  # noqa: DTZ001 - that is the point
    zoned = enqueued(app, _at=datetime(2100, 1, 1, 12, tzinfo=timezone(timedelta(hours=2))))
    past = enqueued(app, _at=datetime(2000, 1, 1, tzinfo=UTC))
    assert datetime(2100, 1, 1, 12, tzinfo=UTC) == naive.scheduled_at
    assert datetime(2100, 1, 1, 10, tzinfo=UTC) == zoned.scheduled_at
    assert JobStatus.Queued is past.status


def test_integer_retry_backs_off(app: SyncWerk) -> None:
    """An integer `_retry` gets exponential intervals with jitter, a `Retry` gets its own, the setting turns it off."""
    job = enqueued(app, _retry=5)
    assert job.retry_intervals is not None
    assert all(2**n // 2 <= wait <= 2**n for n, wait in enumerate(job.retry_intervals, 1))
    assert 4 == len(job.retry_intervals)
    uniform = enqueued(app, _retry=Retry(max=3, intervals=30))
    single = enqueued(app, _retry=1)
    assert ([30], None) == (uniform.retry_intervals, single.retry_intervals)


def test_integer_retry_without_backoff(make_app: Callable[..., SyncWerk]) -> None:
    """Without `default_retry_backoff` an integer `_retry` tries again at once."""
    app = make_app(config={"default_retry_backoff": False})
    job = enqueued(app, _retry=5)
    assert job.retry_intervals is None


def test_duplicate_key_gives_none(app: SyncWerk) -> None:
    """While a job with a key exists, a second one with it is not enqueued, whatever its state is."""
    assert app.enqueue(handlers.echo, _key="k") is not None
    assert app.enqueue(handlers.echo, _key="k") is None
    _compat.burst(app)
    assert app.enqueue(handlers.echo, _key="k") is None
    assert 1 == len(app.list_jobs())


def test_many_keeps_the_order(app: SyncWerk) -> None:
    """`enqueue_many` returns the jobs in the order given, with None for keys that exist or came earlier in the call."""
    app.enqueue(handlers.echo, _key="old")
    specs = [EnqueueParams(handlers.echo, (n,), key=key) for n, key in enumerate(["z", "old", "a", "z", None, None])]
    jobs = app.enqueue_many(specs)
    assert [0, None, 2, None, 4, 5] == [job and job.payload and job.payload["args"][0] for job in jobs]
    for job in jobs:
        assert job is None or app.get_job(job.id) == job


def test_many_is_all_or_nothing(app: SyncWerk) -> None:
    """One bad spec, and nothing of the call is written; the error says which one."""
    specs = [EnqueueParams(handlers.echo), EnqueueParams(handlers.echo, priority="high")]  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"specs\[1\]\.priority must be an int"):
        app.enqueue_many(specs)
    with pytest.raises(JobNotFound):
        app.enqueue_many([EnqueueParams(handlers.echo), EnqueueParams(handlers.echo, depends_on=UNKNOWN)])
    assert [] == app.list_jobs()


def test_many_of_nothing(app: SyncWerk) -> None:
    """No specs, no jobs."""
    assert [] == app.enqueue_many([])


def test_many_in_more_than_one_statement(app: SyncWerk) -> None:
    """More jobs than fit into one statement are still one transaction, and all are there."""
    specs = [EnqueueParams(handlers.echo, (number,)) for number in range(10_001)]
    jobs = app.enqueue_many(specs)
    assert list(range(10_001)) == [job and job.payload and job.payload["args"][0] for job in jobs]
    specs.append(EnqueueParams(handlers.echo, depends_on=UNKNOWN))
    with pytest.raises(JobNotFound):
        app.enqueue_many(specs)
    assert 10_001 == len(app.list_jobs(limit=100_000))


def test_dependencies_are_stored(app: SyncWerk) -> None:
    """A job that depends on others waits, whether they are named by id, job, `Dependency` or spec of the call."""
    parent = app.enqueue(handlers.echo)
    assert parent is not None
    for depends_on in (parent, parent.id, Dependency(parent, allow_failure=True), [parent, parent.id]):
        job = enqueued(app, _depends_on=depends_on)
        assert JobStatus.Waiting is job.status
    first = EnqueueParams(handlers.echo)
    jobs = app.enqueue_many([first, EnqueueParams(handlers.echo, depends_on=[first, parent])])
    assert [JobStatus.Queued, JobStatus.Waiting] == [job and job.status for job in jobs]


def test_dependency_on_a_duplicate_means_the_job_that_is_there(app: SyncWerk, dsn: str, schema: str) -> None:
    """A spec that waits for one whose key exists already waits for the job that has the key."""
    older = app.enqueue(handlers.echo, _key="older")
    first = EnqueueParams(handlers.echo, key="twice")
    again = EnqueueParams(handlers.echo, key="twice")
    dup = EnqueueParams(handlers.echo, key="older")
    child = EnqueueParams(handlers.echo, depends_on=[dup, again])
    jobs = app.enqueue_many([first, again, dup, child])
    assert [True, False, False, True] == [job is not None for job in jobs]
    with psycopg.Connection.connect(dsn) as connection:
        query = f'SELECT parent_id::text, child_id::text FROM {schema}."_pgwerk_dependencies"'
        cursor = connection.execute(query.encode())
        links = set(cursor.fetchall())
    assert older is not None
    assert jobs[0] is not None
    assert jobs[3] is not None
    assert {(older.id, jobs[3].id), (jobs[0].id, jobs[3].id)} == links


def test_dependency_on_a_later_spec_is_refused(app: SyncWerk) -> None:
    """A spec can wait for earlier ones only, so that there is no way to make a circle."""
    later = EnqueueParams(handlers.echo)
    with pytest.raises(ValueError, match="does not come before this one"):
        app.enqueue_many([EnqueueParams(handlers.echo, depends_on=later), later])


def test_part_of_the_callers_transaction(app: SyncWerk, dsn: str) -> None:
    """With `_conn`, a job exists when the caller's transaction commits, and has never existed when it does not."""
    app.connect()
    connection = psycopg.Connection.connect(dsn)
    with connection:
        job = app.enqueue(handlers.echo, _conn=connection)
        assert job is not None
        with pytest.raises(JobNotFound):
            app.get_job(job.id)
        connection.rollback()
        with pytest.raises(JobNotFound):
            app.get_job(job.id)
        job, *_ = app.enqueue_many([EnqueueParams(handlers.echo)], _conn=connection.cursor())
        connection.commit()
    assert job is not None
    assert app.get_job(job.id) == job


def test_refusal_leaves_the_callers_transaction_alone(app: SyncWerk, dsn: str) -> None:
    """What is refused does not break the caller's transaction."""
    app.connect()
    connection = psycopg.Connection.connect(dsn)
    with connection:
        with pytest.raises(JobNotFound):
            app.enqueue(handlers.echo, _conn=connection, _depends_on=UNKNOWN)
        with pytest.raises(SerializationError):
            app.enqueue(handlers.echo, object(), _conn=connection)
        job = app.enqueue(handlers.echo, _conn=connection)
        connection.commit()
    assert job is not None
    assert app.get_job(job.id) == job


def test_connection_of_anything_else_is_refused(app: SyncWerk) -> None:
    """`_conn` that is no connection is refused before anything is sent."""
    with pytest.raises(TypeError, match="_conn must be a psycopg"):
        app.enqueue(handlers.echo, _conn="a dsn")  # type: ignore[arg-type]


def test_before_enqueue_sees_each_job(app: SyncWerk) -> None:
    """A before-enqueue callback gets each job before it is inserted, and stops the insert by raising."""
    seen: list[str] = []

    def callback(job: Job) -> None:
        seen.append(job.queue)
        if job.queue == "forbidden":
            raise PermissionError(job.queue)

    app.register_before_enqueue(callback)
    app.enqueue(handlers.echo)
    with pytest.raises(PermissionError):
        app.enqueue_many([EnqueueParams(handlers.echo), EnqueueParams(handlers.echo, queue="forbidden")])
    app.unregister_before_enqueue(callback)
    app.enqueue(handlers.echo, _queue="forbidden")
    assert ["default", "default", "forbidden"] == seen
    assert 2 == len(app.list_jobs())
    with pytest.raises(ValueError, match="is not registered"):
        app.unregister_before_enqueue(callback)


def local() -> Any:
    def inner() -> None: ...

    return inner


@pytest.mark.parametrize("func", [lambda: None, local(), 17, "no_dots", "not a.path", "a..b"])
def test_handler_that_no_worker_can_import_is_refused(app: SyncWerk, func: Any) -> None:
    """Lambdas, local functions and nonsense are refused with a `ValueError`, and nothing is written."""
    with pytest.raises(ValueError, match=r"."):
        app.enqueue(func)
    assert [] == app.list_jobs()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"_retry": 0}, ValueError, "_retry must be at least 1, not 0"),
        ({"_retry": 1.5}, TypeError, "_retry must be an int or a Retry"),
        ({"_retry": True}, TypeError, "_retry must be an int or a Retry"),
        ({"_delay": -1}, ValueError, "_delay must be at least 0, not -1"),
        ({"_delay": "soon"}, TypeError, "_delay must be a number of seconds"),
        ({"_delay": float("nan")}, ValueError, "_delay must be finite"),
        ({"_at": "tomorrow"}, TypeError, "_at must be a datetime"),
        ({"_at": datetime(2100, 1, 1, tzinfo=UTC), "_delay": 1}, ValueError, "_delay and _at cannot be given together"),
        ({"_at": datetime.max.replace(tzinfo=UTC)}, ValueError, "_at must lie between the years"),
        ({"_delay": timedelta.max}, ValueError, "_delay must be at most"),
        ({"_priority": 2**31}, ValueError, "_priority must be at most"),
        ({"_priority": "high"}, TypeError, "_priority must be an int"),
        ({"_timeout": 0}, ValueError, "_timeout must be at least 1"),
        ({"_heartbeat": 0}, ValueError, "_heartbeat must be at least 1"),
        ({"_ttl": 0}, ValueError, "_ttl must be at least 1"),
        ({"_result_ttl": -1}, ValueError, "_result_ttl must be at least 0"),
        ({"_failure_ttl": "1"}, TypeError, "_failure_ttl must be an int"),
        ({"_queue": ""}, ValueError, "_queue must not be empty"),
        ({"_queue": "a\0b"}, ValueError, "_queue must not contain a NUL"),
        ({"_queue": "q" * 256}, ValueError, "_queue must be at most 255 bytes"),
        ({"_queue": None}, TypeError, "_queue must be a str"),
        ({"_key": "k\0"}, ValueError, "_key must not contain a NUL"),
        ({"_group": 5}, TypeError, "_group must be a str"),
        ({"_meta": [1]}, TypeError, "_meta must be a dict"),
        ({"_meta": {"a": object()}}, SerializationError, "_meta"),
        ({"_repeat": 3}, TypeError, "_repeat must be a Repeat"),
        ({"_failure_mode": "drop"}, ValueError, "_failure_mode must be one of 'hold', 'delete'"),
        ({"_on_success": 5}, ValueError, "_on_success must be a function or its dotted path"),
        ({"_depends_on": 5}, TypeError, "_depends_on must be a Job"),
        ({"_depends_on": "no-uuid"}, ValueError, "that is not a UUID"),
        ({"_depends_on": UNKNOWN}, JobNotFound, UNKNOWN),
        ({"_prioritty": 1}, TypeError, "no option '_prioritty'. Did you mean '_priority'?"),
    ],
)
def test_bad_option_is_refused_by_name(
    app: SyncWerk, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """An option that makes no sense is refused with an error that names it, and nothing is written."""
    with pytest.raises(error) as caught:
        app.enqueue(handlers.echo, **options)
    assert message in str(caught.value)
    assert [] == app.list_jobs()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"args": "ab"}, "specs[0].args must be a tuple or a list, not str ('ab')"),
        ({"args": 5}, "specs[0].args must be a tuple or a list, not int (5)"),
        ({"args": {"a": 1}}, "specs[0].args must be a tuple or a list, not dict"),
        ({"kwargs": [1]}, "specs[0].kwargs must be a dict, not list ([1])"),
        ({"kwargs": {1: 2}}, "specs[0].kwargs has the key 1, which cannot be the name of an argument"),
    ],
)
def test_bad_arguments_are_refused_by_name(app: SyncWerk, arguments: dict[str, Any], message: str) -> None:
    """Arguments that no handler could be called with are refused, and nothing is written."""
    with pytest.raises(TypeError) as caught:
        app.enqueue_many([EnqueueParams(handlers.echo, **arguments)])
    assert message in str(caught.value)
    assert [] == app.list_jobs()


def test_argument_that_cannot_be_serialized_is_named(app: SyncWerk) -> None:
    """The error about an argument names the argument, its type and the function."""
    with pytest.raises(SerializationError) as caught:
        app.enqueue(handlers.echo, 1, user=object())
    for part in ("user", "object", "tests.handlers.echo"):
        assert part in str(caught.value)


def test_extremes_of_options(app: SyncWerk) -> None:
    """The largest and the smallest values that are allowed are stored as they are."""
    job = enqueued(app, _priority=-(2**31), _queue="ü" * 127, _key="k" * 1024, _group="g" * 1024, _retry=2**31 - 1)
    assert evolve(job, priority=-(2**31), queue="ü" * 127, key="k" * 1024, group_key="g" * 1024) == job
    assert 2**31 - 1 == job.max_attempts
