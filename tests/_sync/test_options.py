# Generated from tests/_async/test_options.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""Enqueuers: options that are bound once, and calls whose arguments all belong to the handler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
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
    JobError,
    JobNotFound,
    JobStatus,
    Repeat,
    Retry,
    SerializationError,
    SyncEnqueuer,
    SyncWerk,
)
from pgwerk._core.bound import OPTIONS
from pgwerk._sync.enqueuer import Options

AT = datetime(2100, 1, 1, 12, tzinfo=UTC)
EVERY_OPTION: dict[str, Any] = {
    "queue": "mail",
    "priority": -5,
    "at": AT,
    "retry": Retry(max=4, intervals=[10, 60]),
    "timeout": 30,
    "heartbeat": 20,
    "key": "the key",
    "group": "the group",
    "meta": {"tags": ["x"]},
    "result_ttl": 0,
    "failure_ttl": 100,
    "ttl": 200,
    "on_success": Callback(handlers.echo, timeout=5),
    "on_failure": handlers.fail,
    "on_stopped": "some.module.function",
    "repeat": Repeat(times=3, interval=5, intervals=[1, 2]),
    "failure_mode": "delete",
}
CLASHING: dict[str, Any] = {
    **dict.fromkeys(["self", "app", "func", "args", "kwargs", "options", "return_exceptions"], 1),
    **dict.fromkeys(OPTIONS, 2),
    **{f"_{name}": 3 for name in OPTIONS},
}


@pytest.fixture
def worked(app: SyncWerk) -> Iterator[SyncWerk]:
    """A client whose jobs a worker runs."""
    with _compat.working(app):
        yield app


def alike(app: SyncWerk, one: Job | None, two: Job | None) -> bool:
    """Whether two jobs are stored with the same values, but for what is different in every job."""
    assert one is not None
    assert two is not None
    one, two = app.get_job(one.id), app.get_job(two.id)
    when = AT if one.scheduled_at == AT else two.scheduled_at
    return two == evolve(one, id=two.id, enqueued_at=two.enqueued_at, key=two.key, scheduled_at=when)


def test_options_mean_what_they_mean_to_enqueue(app: SyncWerk) -> None:
    """A job of an enqueuer is the same as one of `enqueue` with the same options, and without any, too."""
    with_underscore = {f"_{name}": value for name, value in EVERY_OPTION.items()}
    direct = app.enqueue(handlers.echo, 1, word="two", **with_underscore | {"_key": "another"})
    bound = app.options(**EVERY_OPTION).enqueue(handlers.echo, 1, word="two")
    assert alike(app, direct, bound)
    assert bound is not None
    assert ("the key", "mail") == (bound.key, bound.queue)
    assert alike(app, app.enqueue("some.path"), app.options().enqueue("some.path"))


def test_what_decides_when_a_job_starts(app: SyncWerk) -> None:
    """A delay and dependencies can be bound as well, the latter as one or many."""
    delayed = app.options(delay=timedelta(seconds=60)).enqueue(handlers.echo)
    assert timedelta(seconds=60) == delayed.scheduled_at - delayed.enqueued_at
    for parents in (delayed, delayed.id, [delayed], (Dependency(delayed, allow_failure=True),)):
        child = app.options(depends_on=parents).enqueue(handlers.echo)
        assert JobStatus.Waiting is child.status
    with pytest.raises(JobNotFound):
        app.options(depends_on="01900000-0000-7000-8000-000000000000").enqueue(handlers.echo)


def test_every_option_can_be_bound() -> None:
    """What `options` takes is what `enqueue` takes, and how to wait, for type checkers as well."""
    enqueue = {name.removeprefix("_") for name in SyncWerk.enqueue.__annotations__ if name.startswith("_")}
    assert enqueue | {"wait_timeout", "poll_interval"} == set(OPTIONS)
    assert Options.__optional_keys__ | {"key"} == set(OPTIONS)


def test_arguments_may_have_any_name(worked: SyncWerk) -> None:
    """Keyword arguments go to the handler, also those with the name of an option or of a parameter of ours."""
    bound = worked.options(queue="default", wait_timeout=20)
    job = bound.enqueue(handlers.echo, 1, **CLASHING)
    assert {"args": [1], "kwargs": CLASHING} == job.payload
    assert "default" == job.queue
    assert CLASHING == bound.apply(handlers.echo, **CLASHING)
    assert [CLASHING] == bound.map(handlers.echo, [CLASHING])


@pytest.mark.parametrize(
    ("name", "meant"),
    [("quee", "queue"), ("_queue", "queue"), ("Retry", "retry"), ("wait_timout", "wait_timeout"), ("func", None)],
)
def test_unknown_option_is_refused_by_name(app: SyncWerk, name: str, meant: str | None) -> None:
    """An option that does not exist is refused, with the name of one that does."""
    hint = f" Did you mean '{meant}'?" if meant else ""
    for options in (app.options, app.options(queue="mail").options):
        with pytest.raises(TypeError) as caught:
            options(**dict[str, Any]({name: 1}))
        assert f"options() has no option '{name}'.{hint}" == str(caught.value)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"queue": ""}, ValueError, "queue must not be empty"),
        ({"priority": "1"}, TypeError, "priority must be an int"),
        ({"delay": -1}, ValueError, "delay must be at least 0"),
        ({"delay": 1, "at": AT}, ValueError, "delay and at cannot be given together"),
        ({"at": "now"}, TypeError, "at must be"),
        ({"retry": 0}, ValueError, "retry must be at least 1"),
        ({"timeout": 0}, ValueError, "timeout must be at least 1"),
        ({"heartbeat": True}, TypeError, "heartbeat must be an int"),
        ({"key": 3}, TypeError, "key must be a str"),
        ({"group": ""}, ValueError, "group must not be empty"),
        ({"meta": []}, TypeError, "meta must be a dict"),
        ({"meta": {"a": object()}}, SerializationError, "meta: "),
        ({"result_ttl": -1}, ValueError, "result_ttl must be"),
        ({"failure_ttl": 1.5}, TypeError, "failure_ttl must be"),
        ({"ttl": 0}, ValueError, "ttl must be"),
        ({"on_success": 3}, ValueError, "on_success must be"),
        ({"on_failure": lambda: None}, ValueError, "a lambda has no name"),
        ({"on_stopped": "nowhere"}, ValueError, "'nowhere' is not the dotted path"),
        ({"repeat": 3}, TypeError, "repeat must be a Repeat"),
        ({"depends_on": 3}, TypeError, "depends_on must be"),
        ({"depends_on": EnqueueParams(handlers.echo)}, ValueError, "depends_on names a spec"),
        ({"failure_mode": "keep"}, ValueError, "failure_mode must be"),
        ({"sync": 1}, TypeError, "sync must be True or False"),
        ({"wait_timeout": -1}, ValueError, "wait_timeout must be at least 0"),
        ({"wait_timeout": "1"}, TypeError, "wait_timeout must be"),
        ({"poll_interval": 0}, ValueError, "poll_interval must be more than 0"),
        ({"poll_interval": None}, TypeError, "poll_interval must be"),
        ({"conn": "no connection"}, TypeError, "conn must be a psycopg"),
    ],
)
def test_bad_option_is_refused_at_once(
    app: SyncWerk, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """An option that makes no sense is refused when it is bound, before there is any job, and by its name."""
    for bind in (app.options, app.options(queue="mail", meta={"b": 1}).options):
        with pytest.raises(error) as caught:
            bind(**options)
        assert str(caught.value).startswith(message)


def test_callback_that_is_not_allowed_is_refused_at_once(make_app: Callable[..., SyncWerk]) -> None:
    """What the client allows is looked at when a callback is bound, too."""
    app = make_app(allowed_functions=["tests.handlers.echo"])
    with pytest.raises(ValueError, match=r"^on_failure: 'tests.handlers.fail' is not allowed"):
        app.options(on_failure=handlers.fail)
    assert "on_failure" in repr(app.options(on_failure=handlers.echo))


def test_sync_runs_the_job_here(app: SyncWerk) -> None:
    """With `sync`, the job runs in this process, as with `_sync`; `apply` and `map`, which wait, refuse it."""
    bound = app.options(sync=True, queue="mail")
    direct = app.enqueue(handlers.plain_echo, 2, _sync=True, _queue="mail")
    job = bound.enqueue(handlers.plain_echo, 2)
    assert direct is not None
    assert (JobStatus.Complete, 2, "mail") == (job.status, job.result, job.queue)
    assert (direct.status, direct.result, direct.queue) == (job.status, job.result, job.queue)
    with pytest.raises(ValueError, match=r"^sync cannot be given here"):
        bound.apply(handlers.add, 2)
    with pytest.raises(ValueError, match=r"^sync cannot be given here"):
        bound.map(handlers.add, [{"a": 2}])


def test_options_can_be_added(app: SyncWerk) -> None:
    """`options` of an enqueuer sets more of them, or others, and leaves the enqueuer as it is."""
    first = app.options(queue="mail", priority=3, delay=5)
    second = first.options(queue="bulk", delay=None, at=AT)
    jobs = [each.enqueue(handlers.echo) for each in (first, second, first)]
    assert [("mail", 3, False), ("bulk", 3, True), ("mail", 3, False)] == [
        (job.queue, job.priority, AT == job.scheduled_at) for job in jobs
    ]
    with pytest.raises(ValueError, match="delay and at cannot be given together"):
        first.options(at=AT)


def test_enqueuer_does_not_change(app: SyncWerk) -> None:
    """What was passed to `options` can be changed afterwards, and what a job has as well: the next job has the same."""
    parent = app.enqueue(handlers.echo)
    assert parent is not None
    meta: dict[str, Any] = {"tags": ["x"]}
    parents: list[Job] = []
    bound = app.options(meta=meta, depends_on=parents)
    meta["tags"].append("y")
    parents.append(parent)
    first = bound.enqueue(handlers.echo)
    assert first.meta is not None
    first.meta["tags"].append("z")
    second = bound.enqueue(handlers.echo)
    assert [({"tags": ["x"]}, JobStatus.Queued)] * 2 == [
        (job.meta, job.status) for job in [app.get_job(first.id), second]
    ]
    with pytest.raises(AttributeError):
        bound.queue = "other"  # type: ignore[attr-defined]


def test_repr_tells_the_options(dsn: str) -> None:
    """An enqueuer shows its client and its options, and no password."""
    app = SyncWerk(psycopg.conninfo.make_conninfo(dsn, password="secret"))
    assert f"{app!r}.options(queue='mail', retry=3)" == repr(app.options(queue="mail").options(retry=3))
    assert "secret" not in repr(app.options())


def test_key_that_exists_already(app: SyncWerk) -> None:
    """With a key, `enqueue` gives None when it exists, `apply` refuses, and `map` takes one job only."""
    bound = app.options(key="k")
    assert bound.enqueue(handlers.echo) is not None
    assert bound.enqueue(handlers.echo) is None
    with pytest.raises(ValueError, match="'k' exists already"):
        bound.apply(handlers.echo)
    with pytest.raises(ValueError, match=r"^key cannot be given to map"):
        bound.map(handlers.echo, [{}, {}])
    assert bound.options(key=None).enqueue(handlers.echo) is not None


def test_part_of_the_callers_transaction(app: SyncWerk, dsn: str) -> None:
    """With `conn`, the job is part of the caller's transaction, and waiting for it is refused."""
    with psycopg.Connection.connect(dsn) as connection:
        app.connect()
        bound = app.options(conn=connection)
        job = bound.enqueue(handlers.echo)
        with pytest.raises(JobNotFound):
            app.get_job(job.id)
        with pytest.raises(ValueError, match=r"^conn cannot be given here"):
            bound.apply(handlers.echo)
        with pytest.raises(ValueError, match=r"^conn cannot be given here"):
            bound.map(handlers.echo, [])
        connection.commit()
    assert [job.id] == [each.id for each in app.list_jobs()]


def test_bound_apply_and_map_give_the_results(worked: SyncWerk) -> None:
    """`apply` and `map` of an enqueuer give what the handler returned, also when it takes the context first."""
    bound = worked.options(priority=3, wait_timeout=20, poll_interval=0.1)
    assert 5 == bound.apply(handlers.add, 2, b=3)
    word, job_id, *_ = bound.apply(handlers.about, "word")
    job = worked.get_job(job_id)
    assert ("word", 3) == (word, job.priority)
    assert list(range(1, 101)) == bound.map(handlers.add, [{"a": number} for number in range(100)])
    assert [] == bound.map(handlers.add, [])


def test_bound_apply_and_map_give_the_failures(worked: SyncWerk) -> None:
    """A failure is raised, or with `return_exceptions` given in the place of the result."""
    bound = worked.options(wait_timeout=20)
    with pytest.raises(JobError, match="no luck"):
        bound.apply(handlers.fail, "no luck")
    with pytest.raises(JobError):
        bound.map(handlers.add, [{"a": 1}, {"a": "x"}])
    results = bound.map(handlers.add, [{"a": 1}, {"a": "x"}], return_exceptions=True)
    assert [2, JobError] == [type(each) if isinstance(each, JobError) else each for each in results]


def test_wait_timeout_limits_the_wait(app: SyncWerk) -> None:
    """With `wait_timeout`, a number or a `timedelta`, `apply` and `map` give up after that time; the jobs stay."""
    bound: SyncEnqueuer[Job] = app.options(wait_timeout=0.2, timeout=30)
    with pytest.raises(TimeoutError, match=r"within 0\.2 s"):
        bound.apply(handlers.echo)
    with pytest.raises(TimeoutError, match=r"within 0\.2 s"):
        bound.map(handlers.echo, [{}, {}])
    assert [JobStatus.Queued] * 3 == [job.status for job in app.list_jobs()]


def test_bad_call_is_refused(app: SyncWerk) -> None:
    """The handler and its arguments are checked as by `enqueue`."""
    with pytest.raises(ValueError, match="lambda"):
        app.options().enqueue(lambda: None)
    with pytest.raises(SerializationError, match="argument"):
        app.options().enqueue(handlers.echo, object())
    bad: list[Any] = [{"a": 1}, 2]
    with pytest.raises(TypeError, match=r"iter_kwargs\[1\] must be a mapping"):
        app.options().map(handlers.add, bad)
    assert [] == app.list_jobs()
