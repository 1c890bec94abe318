"""`_sync`: a job that runs in the calling process, and lives through the same as in a worker."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus
from tests import handlers, inline_handlers
from tests._async import _compat
from tests._async.conftest import MakeApp

from pgwerk import Callback, Dependency, ExecutionStatus, Job, JobNotFound, JobStatus, Repeat, Retry, Werk, WerkError
from pgwerk._core.logs import current_job

DEADLINE = 30
SHORT_LEASE = {"heartbeat_interval": 0.1}


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    inline_handlers.calls.clear()
    inline_handlers.release.clear()
    yield
    inline_handlers.release.set()


async def run(app: Werk, func: Any, *args: Any, **options: Any) -> Job:
    """Run a job in this process."""
    job = await app.enqueue(func, *args, _sync=True, **options)
    assert job is not None
    return job


async def result_of_run(app: Werk, func: Any, *args: Any, **options: Any) -> Any:
    job = await run(app, func, *args, **options)
    return job.result


async def error_of_run(app: Werk, func: Any, *args: Any, **options: Any) -> str:
    job = await run(app, func, *args, **options)
    return str(job.error)


async def status_of(app: Werk, job_id: str) -> JobStatus:
    job = await app.get_job(job_id)
    return job.status


async def result_of(app: Werk, job_id: str) -> Any:
    """The result of a job that some worker runs."""
    job = await app.wait_for(job_id, timeout=DEADLINE)
    return job.result


async def sql(app: Werk, statement: str, *params: object) -> list[tuple[Any, ...]]:
    """Send a statement of the test's own; {jobs} and {workers} stand for the tables."""
    tables = {name: f'{app.config.schema}."{app.config.prefix}_{name}"' for name in ("jobs", "workers")}
    async with await psycopg.AsyncConnection.connect(app.dsn, autocommit=True) as connection:
        cursor = await connection.execute(statement.format(**tables).encode(), params or None)
        return await cursor.fetchall() if cursor.description else []


async def history(app: Werk, job: Job) -> list[tuple[int, ExecutionStatus]]:
    return [(each.attempt, each.status) for each in await app.get_executions(job.id)]


async def until_active(app: Werk) -> Job:
    """Wait until a job runs."""
    deadline = time.monotonic() + DEADLINE
    while not (jobs := await app.list_jobs(status="active")):
        assert time.monotonic() < deadline
        await _compat.pause()
    return jobs[0]


# The life of a job


@pytest.mark.parametrize("func", [handlers.echo, handlers.plain_echo])
async def test_runs_at_once_and_returns_the_finished_job(app: Werk, func: Any) -> None:
    """A handler of either kind runs in this process; the job that is returned is what is stored, with its history."""
    job = await run(app, func, {"a": (1, 2)}, _queue="q", _priority=3, _meta={"m": 1})
    assert (JobStatus.Complete, {"a": (1, 2)}, 1, None) == (job.status, job.result, job.attempts, job.error)
    assert job.started_at is not None
    assert job.completed_at is not None
    assert job.enqueued_at <= job.started_at <= job.completed_at
    assert await app.get_job(job.id) == job
    (execution,) = await app.get_executions(job.id)
    assert (ExecutionStatus.Complete, {"a": (1, 2)}) == (execution.status, execution.result)
    assert job.worker_id == execution.worker_id is not None


async def test_bound_option(app: Werk) -> None:
    """As every option, `sync` can be bound."""
    job = await app.options(sync=True, queue="q").enqueue(handlers.add, 1, b=2)
    assert (JobStatus.Complete, 3, "q") == (job.status, job.result, job.queue)


async def test_leaves_nothing_to_workers(app: Werk) -> None:
    """After the run no worker is on the list, and nothing is left to do."""
    job = await run(app, handlers.echo)
    assert [] == await sql(app, "SELECT * FROM {workers}")
    await _compat.burst(app)
    assert await app.get_job(job.id) == job


@pytest.mark.parametrize("func", [inline_handlers.flaky, inline_handlers.plain_flaky])
async def test_attempts_follow_each_other_at_once(app: Werk, func: Any) -> None:
    """All attempts are made, whatever the delays between them; each is in the history."""
    retry = Retry(max=3, intervals=1000)
    successful = await run(app, func, 3, _retry=retry)
    assert (JobStatus.Complete, 3, 3) == (successful.status, successful.result, successful.attempts)
    failed, complete = ExecutionStatus.Failed, ExecutionStatus.Complete
    assert [(1, failed), (2, failed), (3, complete)] == await history(app, successful)
    hopeless = await run(app, func, 4, _retry=retry)
    assert (JobStatus.Failed, 3, "ValueError: attempt 3") == (
        hopeless.status,
        hopeless.attempts,
        str(hopeless.error).splitlines()[-1],
    )
    assert [(1, failed), (2, failed), (3, failed)] == await history(app, hopeless)


async def test_fails_as_in_a_worker(app: Werk) -> None:
    """What cannot be called, and what gives nothing that can be stored, ends in the same way as in a worker."""
    calls: list[tuple[Any, tuple[Any, ...]]] = [
        ("tests.handlers.not_there", ()),
        ("no_such_module.f", ()),
        (handlers.add, (1, 2, 3)),
        (handlers.add, ("a", 1)),
        (handlers.bad_result, ()),
        (handlers.nul_in_error, ()),
        (handlers.cancel_itself, ()),
    ]
    for func, args in calls:
        there = await app.enqueue(func, *args, _retry=Retry(max=2))
        assert there is not None
        await _compat.burst(app)
        there = await app.get_job(there.id)
        here = await run(app, func, *args, _retry=Retry(max=2))
        assert (there.status, there.attempts) == (here.status, here.attempts)
        assert (there.error or "").splitlines()[-1] == (here.error or "").splitlines()[-1]
        assert await history(app, there) == await history(app, here)


async def test_errors_begin_in_the_handler(app: Werk) -> None:
    """The traceback of a failed job begins in the handler and not in pgwerk, for handlers of either kind."""
    for func in (handlers.fail, inline_handlers.plain_sleep_and_fail):
        job = await run(app, func, 0)
        assert ".py" in str(job.error).splitlines()[1]
        assert "handlers.py" in str(job.error).splitlines()[1]


@pytest.mark.parametrize("func", [handlers.hang, inline_handlers.swallow])
async def test_timeout_of_a_coroutine(app: Werk, func: Any) -> None:
    """A coroutine that takes too long is cancelled, and has timed out whatever it makes of that."""
    job = await run(app, func, _timeout=1)
    assert (JobStatus.Failed, 1) == (job.status, job.attempts)
    assert "JobTimeout: the job ran for longer than its time-out of 1 s" in str(job.error)
    assert (["cancelled"] if func is inline_handlers.swallow else []) == inline_handlers.calls


@pytest.mark.parametrize("func", [handlers.plain_sleep, inline_handlers.plain_sleep_and_fail])
async def test_timeout_of_a_plain_function(app: Werk, func: Any) -> None:
    """A plain function that takes too long cannot be stopped: it is waited for, and has timed out."""
    began = time.monotonic()
    job = await run(app, func, 1.2, _timeout=1)
    assert time.monotonic() - began >= 1.2
    assert JobStatus.Failed is job.status
    assert "JobTimeout" in str(job.error)
    assert (func is inline_handlers.plain_sleep_and_fail) == ("ValueError: late" in str(job.error))


async def test_plain_function_that_gives_a_coroutine(app: Werk) -> None:
    """What a decorator has made a plain function of is awaited all the same, within the time-out of the job."""
    assert "word" == await result_of_run(app, inline_handlers.decorated, "word")
    assert "JobTimeout" in await error_of_run(app, inline_handlers.decorated_hang, "word", _timeout=1)


@pytest.mark.parametrize("func", [inline_handlers.surroundings, inline_handlers.plain_surroundings])
async def test_context(app: Werk, func: Any) -> None:
    """A handler gets a client of its own flavour and no worker, the caller's context variables, and the job's log."""
    token = inline_handlers.variable.set("the caller's")
    value, is_current, flavour, worker, _ = await result_of_run(app, func)
    inline_handlers.variable.reset(token)
    is_coroutine = func is inline_handlers.surroundings
    expected = inline_handlers.OF_COROUTINES if is_coroutine else inline_handlers.OF_PLAIN_FUNCTIONS
    assert ("the caller's", True, expected, None) == (value, is_current, flavour, worker)
    assert (app is inline_handlers.calls[0]) == _compat.fitting(is_coroutine, not is_coroutine)
    assert current_job.get() is None


@pytest.mark.parametrize("func", [inline_handlers.enqueue_more, inline_handlers.plain_enqueue_more])
async def test_handler_enqueues(app: Werk, func: Any) -> None:
    """A handler of either kind can enqueue; what waits for its job is released when that has ended."""
    job = await run(app, func, "word")
    assert JobStatus.Queued is await status_of(app, job.result)
    await _compat.burst(app)
    assert "word" == await result_of(app, job.result)


async def test_next_run_is_left_to_workers(app: Werk) -> None:
    """Of a repeating job, the first run is here, and the next one is queued; it takes the key over."""
    job = await run(app, handlers.echo, 7, _repeat=Repeat(times=1), _key="k")
    assert (JobStatus.Complete, None) == (job.status, job.key)
    (following,) = await app.list_jobs(status="queued")
    assert ("k", 0) == (following.key, following.repeat_remaining)
    await _compat.burst(app)
    assert 7 == await result_of(app, following.id)


async def test_rows_that_are_not_kept(app: Werk) -> None:
    """What is not to be kept is returned, and gone afterwards: at once, or with the next sweep."""
    failed = await run(app, handlers.fail, _failure_mode="delete", _on_failure=inline_handlers.told)
    assert JobStatus.Failed is failed.status
    assert [("told", "failed", failed.id)] == inline_handlers.calls
    complete = await run(app, handlers.echo, 1, _result_ttl=0)
    assert (JobStatus.Complete, 1) == (complete.status, complete.result)
    await app.sweep()
    for job in (failed, complete):
        with pytest.raises(JobNotFound):
            await app.get_job(job.id)


# What is refused


@pytest.mark.parametrize("option", [{"_delay": 1}, {"_delay": 0}, {"_at": datetime(2000, 1, 1, tzinfo=UTC)}])
async def test_what_cannot_start_at_once_is_refused(app: Werk, option: dict[str, Any]) -> None:
    """A delay and a time are refused by name, and nothing is written."""
    with pytest.raises(ValueError, match=f"{next(iter(option))} and _sync cannot be given together"):
        await app.enqueue(inline_handlers.plain_told, _sync=True, **option)
    assert [] == await app.list_jobs()


async def test_runs_after_what_it_depends_on(app: Werk) -> None:
    """It runs when the jobs that it depends on have succeeded, and fails without having run when one has failed."""
    good = await run(app, handlers.echo, 1)
    bad = await run(app, handlers.fail)
    ran = await run(app, handlers.echo, 2, _depends_on=[good])
    assert (JobStatus.Complete, 2, [good.id]) == (ran.status, ran.result, await app.get_job_dependencies(ran.id))
    failed = await run(app, handlers.echo, _depends_on=[good, bad])
    assert (JobStatus.Failed, 0) == (failed.status, failed.attempts)
    assert f"dependency failed: job {bad.id} (tests.handlers.fail) failed" == failed.error
    lenient = await run(app, handlers.echo, 3, _depends_on=Dependency(bad, allow_failure=True))
    assert 3 == lenient.result
    assert failed == await app.get_job(failed.id)


async def test_what_it_depends_on_has_not_ended(app: Werk) -> None:
    """While a job that it depends on has not ended, or where there is none, it is refused, and nothing is written."""
    parent = await app.enqueue(handlers.echo)
    assert parent is not None
    with pytest.raises(WerkError, match="has not ended"):
        await app.enqueue(handlers.echo, _depends_on=parent, _sync=True)
    await app.delete_job(parent.id)
    with pytest.raises(JobNotFound, match=parent.id):
        await app.enqueue(handlers.echo, _depends_on=parent, _sync=True)
    assert [] == await app.list_jobs()


async def test_key_that_exists(app: Werk) -> None:
    """A job whose key exists already is not run."""
    await app.enqueue(handlers.echo, _key="k")
    assert await app.enqueue(inline_handlers.swallow_error, _key="k", _sync=True) is None
    assert 1 == len(await app.list_jobs())
    assert [] == inline_handlers.calls


async def test_before_enqueue_callbacks(app: Werk) -> None:
    """A before-enqueue callback sees the job first, and keeps it from being run by raising."""
    seen: list[str] = []

    def callback(job: Job) -> None:
        seen.append(job.id)
        if job.queue == "forbidden":
            raise PermissionError(job.queue)

    app.register_before_enqueue(callback)
    job = await run(app, handlers.echo)
    with pytest.raises(PermissionError):
        await run(app, handlers.echo, _queue="forbidden")
    assert job.id == seen[0]
    assert [job] == await app.list_jobs()


async def test_busy_group(app: Werk) -> None:
    """While a job of its group runs in a worker, a job is refused, and nothing is written."""
    async with _compat.working(app):
        await app.enqueue(inline_handlers.wait_for_release, _group="g")
        running = await until_active(app)
        with pytest.raises(WerkError, match="the group 'g' is busy"):
            await run(app, handlers.echo, _group="g", _queue="other")
        assert [running.id] == [job.id for job in await app.list_jobs()]
        assert 1 == await result_of_run(app, handlers.echo, 1, _group="h")
        inline_handlers.release.set()
        await app.wait_for(running.id, timeout=DEADLINE)
        assert 1 == await result_of_run(app, handlers.echo, 1, _group="g")


async def test_group_that_is_being_claimed(app: Werk) -> None:
    """While somebody holds the lock of its group, a job is refused at once."""
    await app.connect()
    async with await psycopg.AsyncConnection.connect(app.dsn) as holder:
        space = app._names.lock_space
        await holder.execute("SELECT pg_advisory_xact_lock(%s, hashtext('g'))", [space])
        with pytest.raises(WerkError, match="the group 'g' is busy"):
            await run(app, handlers.echo, _group="g")
    assert [] == await app.list_jobs()
    assert 1 == await result_of_run(app, handlers.echo, 1, _group="g")


async def test_run_keeps_its_group_busy(app: Werk) -> None:
    """While a job runs here, workers do not start another one of its group; then they do, without being asked."""
    async with _compat.working(app, poll_interval=0.05):
        running = _compat.spawn(run, app, inline_handlers.wait_for_release, _group="g", _retry=Retry(max=2))
        await until_active(app)
        waits = await app.enqueue(handlers.echo, 1, _group="g")
        free = await app.enqueue(handlers.echo, 2)
        assert waits is not None
        assert free is not None
        assert 2 == await result_of(app, free.id)
        assert JobStatus.Queued is await status_of(app, waits.id)
        inline_handlers.release.set()
        job = await running.result()
        ended = await app.wait_for(waits.id, timeout=DEADLINE)
    assert job.completed_at <= ended.started_at


# Callbacks


@pytest.mark.parametrize(
    ("callback", "told"),
    [
        (inline_handlers.told, ()),
        (inline_handlers.plain_told, ()),
        (inline_handlers.told_with_context, (inline_handlers.OF_COROUTINES, None)),
        (inline_handlers.plain_told_with_context, (inline_handlers.OF_PLAIN_FUNCTIONS, None)),
        ("tests.inline_handlers.told", ()),
    ],
)
async def test_callback_that_fits_is_called(app: Werk, callback: Any, told: tuple[Any, ...]) -> None:
    """After the end, the callback that fits it gets the finished job or, if it asks for it, the context."""
    for func, status, fitting in (
        (handlers.echo, "complete", "_on_success"),
        (handlers.fail, "failed", "_on_failure"),
        (handlers.echo, "complete", None),
    ):
        inline_handlers.calls.clear()
        options: dict[str, Any] = dict.fromkeys(("_on_success", "_on_failure", "_on_stopped"), inline_handlers.broken)
        options |= {fitting: callback} if fitting else {"_on_success": None}
        job = await run(app, func, **options)
        expected = ("told", status, job.id, *told, *([job.id] if told else []))
        assert ([expected] if fitting else []) == inline_handlers.calls


@pytest.mark.parametrize(
    ("callback", "reason"),
    [
        (inline_handlers.broken, "(tests.inline_handlers.broken) failed with RuntimeError"),
        ("tests.inline_handlers.not_there", "(tests.inline_handlers.not_there) failed with HandlerNotFound"),
        ("tests.inline_handlers.write", "(tests.inline_handlers.write) failed with TypeError"),
        (
            Callback(inline_handlers.endless, timeout=1),
            "(tests.inline_handlers.endless) ran for longer than its time-out of 1 s",
        ),
    ],
)
async def test_callback_that_fails_changes_nothing(
    app: Werk, caplog: pytest.LogCaptureFixture, callback: Any, reason: str
) -> None:
    """A callback that fails, is not there, does not fit or takes too long is logged by name; the job is what it was."""
    job = await run(app, handlers.echo, 1, _on_success=callback)
    assert (JobStatus.Complete, 1) == (job.status, job.result)
    assert await app.get_job(job.id) == job
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert [f"on_success of job {job.id} {reason}"] == messages


# The lease


@pytest.mark.parametrize(("interval", "deadline"), [(0.1, None), (100, 1)])
async def test_run_is_not_rescued_while_it_lives(make_app: MakeApp, interval: float, deadline: int | None) -> None:
    """A worker that looks for orphans all the time leaves a run alone that outlasts its lease or its deadline."""
    app = make_app(config={"heartbeat_interval": interval}, pool_size=2)
    func = _compat.fitting(handlers.stubborn, handlers.plain_sleep)
    running = _compat.spawn(run, app, func, 2, _heartbeat=deadline)
    async with _compat.working(app, heartbeat_interval=0.05, sweep_interval=0.1, poll_interval=0.05):
        active = await until_active(app)
        listed = await sql(app, "SELECT id::text, kind, queues, pid, running FROM {workers} WHERE kind = 'sync'")
        assert [(active.worker_id, "sync", ["default"], os.getpid(), 1)] == listed
        assert [(1, ExecutionStatus.Running)] == await history(app, active)
        while running.running():
            assert [] == await app.sweep()
            await _compat.pause(0.05)
        job = await running.result()
    assert (JobStatus.Complete, 1, active.worker_id) == (job.status, job.attempts, job.worker_id)


@pytest.mark.posix
async def test_run_is_rescued_when_its_process_is_killed(make_app: MakeApp) -> None:
    """When the process is killed, the attempt counts, and a worker makes the ones that are left."""
    app = make_app(config=SHORT_LEASE)
    await app.connect()
    child = os.fork()
    if child == 0:
        _compat.in_forked_child(run, app, "tests.inline_handlers.flaky_or_hang", _retry=Retry(max=3))
    active = await until_active(app)
    os.kill(child, signal.SIGKILL)
    assert -signal.SIGKILL == _compat.exit_code(child)
    async with _compat.working(app, heartbeat_interval=0.1, poll_interval=0.1):
        ended = await app.wait_for(active.id, timeout=DEADLINE)
    assert (JobStatus.Complete, 2) == (ended.status, ended.attempts)
    assert [(1, ExecutionStatus.Failed), (2, ExecutionStatus.Complete)] == await history(app, ended)
    first, _ = await app.get_executions(ended.id)
    assert "its worker was lost" in str(first.error)


async def test_no_worker_gets_in_between(app: Werk) -> None:
    """However many workers look for work, every attempt at a job is made here."""
    async with _compat.working(app, poll_interval=0.01) as one, _compat.working(app, poll_interval=0.01) as two:
        jobs = [await run(app, inline_handlers.flaky, 5, _retry=Retry(max=5)) for _ in range(10)]
        attempts = [each for job in jobs for each in await app.get_executions(job.id)]
    assert 50 == len(attempts)
    assert {job.worker_id for job in jobs} == {each.worker_id for each in attempts}
    assert not {one.id, two.id} & {each.worker_id for each in attempts}


@pytest.mark.parametrize("func", [inline_handlers.wait_for_release, inline_handlers.wait_for_release_and_fail])
async def test_outcome_of_a_run_that_was_rescued_is_dropped(
    app: Werk, caplog: pytest.LogCaptureFixture, func: Any
) -> None:
    """When a job is taken away from its run, the outcome changes nothing, no callback is called, and that is logged."""
    callbacks = dict.fromkeys(("_on_success", "_on_failure", "_on_stopped"), inline_handlers.told)
    running = _compat.spawn(run, app, func, _retry=Retry(max=3), **callbacks)
    active = await until_active(app)
    await sql(app, "UPDATE {workers} SET heartbeat_at = now() - interval '1 hour', lease_secs = 0.001")
    assert [active.id] == await app.sweep()
    inline_handlers.release.set()
    job = await running.result()
    assert (JobStatus.Queued, 1) == (job.status, job.attempts)
    assert await app.get_job(job.id) == job
    assert ["waiting"] == inline_handlers.calls
    assert any("was dropped" in record.getMessage() for record in caplog.records)


async def test_job_that_was_asked_to_stop(app: Werk) -> None:
    """A job that is aborted while it runs here ends as aborted, whatever comes of it, and is not tried again."""
    running = _compat.spawn(
        run,
        app,
        inline_handlers.wait_for_release_and_fail,
        _retry=Retry(max=3),
        _on_stopped=inline_handlers.told,
        _on_failure=inline_handlers.broken,
    )
    active = await until_active(app)
    assert await app.abort_job(active.id)
    inline_handlers.release.set()
    job = await running.result()
    assert (JobStatus.Aborted, 1) == (job.status, job.attempts)
    assert [(1, ExecutionStatus.Aborted)] == await history(app, job)
    assert ["waiting", ("told", "aborted", job.id)] == inline_handlers.calls


async def test_job_that_was_deleted(app: Werk) -> None:
    """When somebody deletes the job while it runs here, the caller is told that there is no such job."""
    running = _compat.spawn(run, app, inline_handlers.wait_for_release)
    active = await until_active(app)
    await app.delete_job(active.id)
    inline_handlers.release.set()
    with pytest.raises(JobNotFound, match=active.id):
        await running.result()
    assert [] == await sql(app, "SELECT * FROM {workers}")


async def test_row_that_somebody_holds(app: Werk) -> None:
    """While somebody holds the row of the job, the end of the run waits; then it is written down."""
    running = _compat.spawn(run, app, inline_handlers.wait_for_release)
    active = await until_active(app)
    statement = f'SELECT FROM {app.config.schema}."_pgwerk_jobs" WHERE id = %s FOR UPDATE'
    async with await psycopg.AsyncConnection.connect(app.dsn) as holder:
        await holder.execute(statement.encode(), [active.id])
        inline_handlers.release.set()
        await _compat.pause(0.3)
        assert running.running()
    job = await running.result()
    assert JobStatus.Complete is job.status


# What stops the call


@pytest.mark.parametrize("func", [handlers.leave, handlers.plain_leave])
async def test_exit_stops_the_job(app: Werk, func: Any) -> None:
    """A `SystemExit` goes on to the caller, and ends the job as aborted: it is not tried again, here or elsewhere."""
    with pytest.raises(SystemExit):
        await run(app, func, _retry=Retry(max=3), _on_stopped=inline_handlers.told)
    (job,) = await app.list_jobs()
    assert (JobStatus.Aborted, 1) == (job.status, job.attempts)
    assert [("told", "aborted", job.id)] == inline_handlers.calls
    assert [(1, ExecutionStatus.Aborted)] == await history(app, job)
    lines = str(job.error).splitlines()
    assert ["SystemExit: 3", "stopped: SystemExit ended the call that ran the job"] == lines[-2:]
    assert [] == await sql(app, "SELECT * FROM {workers}")


# In the caller's transaction


@pytest.mark.parametrize("func", [handlers.echo, handlers.plain_echo])
async def test_part_of_the_callers_transaction(app: Werk, func: Any) -> None:
    """With `_conn`, all of the run becomes visible with the caller's commit, and none of it without."""
    await app.connect()
    async with await psycopg.AsyncConnection.connect(app.dsn) as connection:
        gone = await run(app, func, 1, _conn=connection)
        assert (JobStatus.Complete, 1) == (gone.status, gone.result)
        assert TransactionStatus.INTRANS is connection.info.transaction_status
        assert [] == await app.list_jobs()
        await connection.rollback()
        job = await run(app, func, 2, _conn=connection.cursor())
        await connection.execute("SELECT 1")
        assert [] == await app.list_jobs()
        await connection.commit()
    assert [job] == await app.list_jobs()
    assert [(1, ExecutionStatus.Complete)] == await history(app, job)
    assert [] == await sql(app, "SELECT * FROM {workers}")


async def test_connection_in_autocommit_mode(app: Werk) -> None:
    """In autocommit mode, outside of a transaction, the whole run is one; within one, the caller commits."""
    await app.connect()
    async with await psycopg.AsyncConnection.connect(app.dsn, autocommit=True) as connection:
        job = await run(app, handlers.fail, _retry=Retry(max=2), _conn=connection)
        assert TransactionStatus.IDLE is connection.info.transaction_status
        assert [job] == await app.list_jobs()
        assert (JobStatus.Failed, 2) == (job.status, job.attempts)
        with pytest.raises(SystemExit):
            await run(app, handlers.leave, _conn=connection)
        assert [job] == await app.list_jobs()
        async with connection.transaction(force_rollback=True):
            await run(app, handlers.echo, _conn=connection)
        assert [job] == await app.list_jobs()


@pytest.fixture
async def joined(app: Werk) -> Any:
    """A connection of the caller's, which handlers and callbacks use, too."""
    await app.connect()
    async with await psycopg.AsyncConnection.connect(app.dsn) as connection:
        await connection.execute("CREATE TEMP TABLE written (by text UNIQUE)")
        await connection.commit()
        await connection.execute("INSERT INTO written VALUES ('caller')")
        inline_handlers.connection = connection
        yield connection
        inline_handlers.connection = None


async def written(connection: Any) -> list[str]:
    cursor = await connection.execute("SELECT by FROM written ORDER BY by")
    return [row[0] for row in await cursor.fetchall()]


INSERT = "INSERT INTO written VALUES ('handler')"


async def test_failed_attempts_are_undone(app: Werk, joined: Any) -> None:
    """What a failed attempt did in the caller's transaction is undone, what a successful one did stays."""
    func = _compat.fitting(inline_handlers.write, inline_handlers.plain_write)
    job = await run(app, func, INSERT, 3, _retry=Retry(max=3), _conn=joined)
    assert (JobStatus.Complete, 3) == (job.status, job.attempts)
    assert ["caller", "handler"] == await written(joined)
    job = await run(app, func, INSERT, _conn=joined)
    assert JobStatus.Failed is job.status
    assert "UniqueViolation" in str(job.error)
    assert ["caller", "handler"] == await written(joined)
    await joined.commit()
    assert ["complete", "failed"] == sorted(each.status.value for each in await app.list_jobs())


async def test_attempt_whose_result_cannot_be_stored_is_undone(app: Werk, joined: Any) -> None:
    """An attempt fails, and is undone, also when it is only its result that cannot be stored."""
    func = _compat.fitting(inline_handlers.write_and_return, inline_handlers.plain_write_and_return)
    assert "object" in await error_of_run(app, func, INSERT, _conn=joined)
    assert ["caller"] == await written(joined)


async def test_handler_that_lets_an_error_of_the_transaction_pass(app: Werk, joined: Any) -> None:
    """A handler that returns although the transaction is aborted has failed; the caller's transaction goes on."""
    func = _compat.fitting(inline_handlers.swallow_error, inline_handlers.plain_swallow_error)
    job = await run(app, func, _conn=joined)
    assert (JobStatus.Failed, ["swallowed"]) == (job.status, inline_handlers.calls)
    assert "InFailedSqlTransaction" in str(job.error)
    assert ["caller"] == await written(joined)


async def test_callbacks_in_the_callers_transaction(app: Werk, joined: Any) -> None:
    """The callback belongs to the caller's transaction as well; what it did is undone when it fails."""
    callback = _compat.fitting(inline_handlers.write_in_callback, inline_handlers.plain_write_in_callback)
    job = await run(app, handlers.fail, _on_failure=callback, _conn=joined)
    assert JobStatus.Failed is job.status
    assert ["caller"] == await written(joined)
    await run(app, handlers.echo, _on_success=callback, _conn=joined)
    assert ["callback", "caller"] == await written(joined)
    await joined.rollback()
    assert [] == await app.list_jobs()


async def test_refusals_leave_the_callers_transaction_alone(app: Werk, joined: Any) -> None:
    """What is refused, and what stops the call, leaves nothing behind, and the caller's transaction goes on."""
    await app.enqueue(handlers.echo, _key="k")
    assert await app.enqueue(handlers.echo, _key="k", _sync=True, _conn=joined) is None
    async with _compat.working(app):
        await app.enqueue(inline_handlers.wait_for_release, _group="g")
        running = await until_active(app)
        with pytest.raises(WerkError, match="busy"):
            await run(app, handlers.echo, _group="g", _conn=joined)
        inline_handlers.release.set()
        await app.wait_for(running.id, timeout=DEADLINE)
    func = _compat.fitting(handlers.leave, handlers.plain_leave)
    inline_handlers.calls.clear()
    with pytest.raises(SystemExit):
        await run(app, func, _on_stopped=inline_handlers.told, _conn=joined)
    assert [] == inline_handlers.calls
    assert ["caller"] == await written(joined)
    await joined.commit()
    assert 2 == len(await app.list_jobs())


async def test_group_is_kept_until_the_commit(app: Werk, joined: Any) -> None:
    """The group of a job in the caller's transaction is busy until that ends, for workers and for other runs."""
    await run(app, handlers.echo, 1, _group="g", _conn=joined)
    waits = await app.enqueue(handlers.echo, 2, _group="g")
    assert waits is not None
    async with _compat.working(app, poll_interval=0.05):
        free = await app.enqueue(handlers.echo, 3)
        assert free is not None
        await app.wait_for(free.id, timeout=DEADLINE)
        with pytest.raises(WerkError, match="busy"):
            await run(app, handlers.echo, _group="g")
        assert JobStatus.Queued is await status_of(app, waits.id)
        assert 4 == await result_of_run(app, handlers.echo, 4, _group="g", _conn=joined)
        await joined.commit()
        assert 2 == await result_of(app, waits.id)


async def test_group_and_an_old_snapshot(app: Werk, joined: Any) -> None:
    """A caller whose snapshot is older than a claim of the group is told that it is busy, and goes on."""
    await joined.rollback()
    await joined.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
    await joined.execute("SELECT 1")
    async with _compat.working(app):
        await app.enqueue(inline_handlers.wait_for_release, _group="g")
        await until_active(app)
        with pytest.raises(WerkError, match="the group 'g' is busy"):
            await run(app, handlers.echo, _group="g", _conn=joined)
        inline_handlers.release.set()
    assert 1 == await result_of_run(app, handlers.echo, 1, _group="h", _conn=joined)


async def test_rows_that_are_not_kept_in_the_callers_transaction(app: Werk, joined: Any) -> None:
    """A failed job with `failure_mode="delete"` is returned; after the commit there is none."""
    job = await run(app, handlers.fail, _failure_mode="delete", _conn=joined)
    assert JobStatus.Failed is job.status
    await joined.commit()
    assert [] == await app.list_jobs()


async def test_nothing_is_announced_to_workers(app: Werk) -> None:
    """No worker is woken for a job that none of them can run, with or without retries; only for its next run."""
    await app.connect()
    async with await psycopg.AsyncConnection.connect(app.dsn, autocommit=True) as listener:
        await listener.execute(f"LISTEN {app._names.ready_channel}".encode())
        await run(app, handlers.fail, _retry=Retry(max=3, intervals=1))
        await run(app, handlers.fail, _retry=Retry(max=3))
        async with await psycopg.AsyncConnection.connect(app.dsn) as connection:
            await run(app, handlers.fail, _retry=3, _conn=connection)
        await run(app, handlers.echo, _repeat=Repeat(times=1), _queue="next")
        heard = [each.payload async for each in listener.notifies(timeout=DEADLINE, stop_after=1)]
    assert ["qnext"] == heard
