"""The life of a job in a worker: what each ending leads to."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from tests import handlers
from tests.worker.conftest import working

from pgwerk import (
    AsyncWorker,
    Callback,
    EnqueueParams,
    ExecutionStatus,
    Job,
    JobNotFound,
    JobStatus,
    Repeat,
    Retry,
    Werk,
)
from pgwerk.worker import BaseWorker

DEADLINE = 30


@pytest.fixture
async def app(dsn: str, request: pytest.FixtureRequest) -> AsyncIterator[Werk]:
    """A client with tables of its own."""
    async with Werk(dsn, schema=f"w{abs(hash(request.node.name))}", pool_size=4) as made:
        yield made


async def run(app: Werk, func: Any, *args: Any, **options: Any) -> Job:
    """Enqueue a job, and run it to its end, or as far as a burst goes."""
    job = await app.enqueue(func, *args, **options)
    assert job is not None
    await AsyncWorker(app, burst=True, handle_signals=False).run()
    return await app.get_job(job.id)


async def test_success(app: Werk) -> None:
    """A job that returns is complete, with its result, its times and its worker."""
    job = await run(app, handlers.add, 2, b=3)
    assert (JobStatus.Complete, 5, None, 1) == (job.status, job.result, job.error, job.attempts)
    assert job.started_at is not None
    assert job.completed_at is not None
    assert job.enqueued_at <= job.started_at <= job.completed_at
    assert job.worker_id is not None


async def test_failure_shows_the_handlers_own_traceback(app: Werk) -> None:
    """The error of a failed job is its traceback, which begins in the handler and not in pgwerk."""
    job = await run(app, handlers.fail, "no luck")
    assert job.status is JobStatus.Failed
    lines = (job.error or "").splitlines()
    assert ("Traceback (most recent call last):", "ValueError: no luck") == (lines[0], lines[-1])
    assert "handlers.py" in lines[1]


async def test_retries_at_once(app: Werk) -> None:
    """With intervals of nothing, a failed attempt is followed by the next one, until the attempts are used up."""
    job = await run(app, handlers.fail, _retry=Retry(max=3))
    assert (JobStatus.Failed, 3) == (job.status, job.attempts)
    assert [1, 2, 3] == [each.attempt for each in await app.get_executions(job.id)]


async def test_retries_later(app: Werk) -> None:
    """A failed attempt with an interval makes the job wait that long, and keeps the error meanwhile."""
    job = await run(app, handlers.fail, _retry=Retry(max=2, intervals=[100]))
    assert (JobStatus.Scheduled, 1) == (job.status, job.attempts)
    assert (job.error or "").endswith("ValueError: boom\n")
    assert (None, None) == (job.worker_id, job.started_at)
    assert 99 < job.scheduled_at.timestamp() - time.time() < 101


async def test_timeout_stops_a_coroutine(app: Werk) -> None:
    """A coroutine that runs for too long is cancelled; the error says so."""
    began = time.monotonic()
    job = await run(app, handlers.hang, _timeout=1)
    assert 1 <= time.monotonic() - began < DEADLINE
    assert job.status is JobStatus.Failed
    assert (job.error or "").rstrip().endswith("the job ran for longer than its time-out of 1 s")


async def test_timeout_of_what_cannot_be_stopped(app: Werk) -> None:
    """A handler that swallows the cancellation keeps its slot until it ends, and its result does not count."""
    job = await run(app, handlers.stubborn, 1.5, _timeout=1)
    assert (JobStatus.Failed, None) == (job.status, job.result)
    assert job.started_at is not None
    assert job.completed_at is not None
    assert 1.5 <= (job.completed_at - job.started_at).total_seconds()


@pytest.mark.parametrize(
    ("func", "last_line"),
    [
        (handlers.cancel_itself, "asyncio.exceptions.CancelledError: of its own accord"),
        (handlers.leave, "SystemExit: 3"),
        (handlers.plain_leave, "SystemExit: 3"),
    ],
)
async def test_surprises_end_the_attempt_only(app: Werk, func: Any, last_line: str) -> None:
    """What a handler raises, whatever it is, fails the job, and the worker goes on."""
    job = await run(app, func)
    assert (JobStatus.Failed, last_line) == (job.status, (job.error or "").splitlines()[-1])
    assert JobStatus.Complete is (await run(app, handlers.echo)).status


async def test_result_that_cannot_be_serialized(app: Werk) -> None:
    """A result that cannot be stored fails the job with the name of its type, and is not tried again."""
    job = await run(app, handlers.bad_result, _retry=Retry(max=3))
    assert (JobStatus.Failed, 1) == (job.status, job.attempts)
    assert "object" in (job.error or "")
    assert "tests.handlers.bad_result" in (job.error or "")


async def test_characters_that_cannot_be_stored(app: Werk) -> None:
    """NUL characters and lone surrogates in an error are escaped."""
    job = await run(app, handlers.nul_in_error)
    assert r"before\x00after \ud800" in (job.error or "")


@pytest.mark.parametrize(
    ("path", "part", "attempts"),
    [
        ("tests.handlers.not_there", "not_there", 2),
        ("no_such_module.f", "no_such_module", 2),
        ("tests.handlers.asyncio", "cannot be called", 2),
    ],
)
async def test_unknown_handler_is_tried_again(app: Werk, path: str, part: str, attempts: int) -> None:
    """A handler that this worker does not have fails the attempt, not the job: the next worker may have it."""
    job = await run(app, path, _retry=Retry(max=2))
    assert (JobStatus.Failed, attempts) == (job.status, job.attempts)
    assert part in (job.error or "")


async def test_arguments_that_do_not_fit(app: Werk) -> None:
    """Arguments that the handler does not take are not tried again."""
    job = await run(app, handlers.add, 1, 2, 3, _retry=Retry(max=3))
    assert (JobStatus.Failed, 1) == (job.status, job.attempts)
    assert "TypeError" in (job.error or "")


async def test_type_error_of_the_handler_is_tried_again(app: Werk) -> None:
    """A `TypeError` that comes from within the handler is a failure like any other."""
    job = await run(app, handlers.add, "a", 1, _retry=Retry(max=3))
    assert (JobStatus.Failed, 3) == (job.status, job.attempts)


async def test_context_of_a_coroutine(app: Werk) -> None:
    """A handler whose first parameter is `ctx` gets the job, the worker, and a `Werk` that can enqueue."""
    job = await run(app, handlers.about, "hello")
    assert ["hello", job.id, 1, "Werk", "AsyncWorker"] == job.result
    job = await run(app, handlers.about_async, "from within")
    assert "from within" == (await app.get_job(job.result)).result


async def test_context_of_a_plain_function(app: Werk) -> None:
    """A plain function runs in a thread, and its context has a `SyncWerk` that can enqueue."""
    job = await run(app, handlers.plain_about, "hello")
    word, job_id, child_id, flavour, on_main_thread = job.result
    assert ("hello", job.id, "SyncWerk", False) == (word, job_id, flavour, on_main_thread)
    assert "hello" == (await app.get_job(child_id)).result


async def test_repeats(app: Werk) -> None:
    """A repeating job runs as often as it says; the next run has the same options, and takes the key over."""
    repeat = Repeat(times=2, intervals=[0, 100])
    job = await run(
        app, handlers.echo, "again", _repeat=repeat, _key="k", _meta={"a": 1}, _retry=Retry(max=2), _priority=4
    )
    runs = await app.list_jobs(newest_first=True)
    assert [JobStatus.Scheduled, JobStatus.Complete, JobStatus.Complete] == [each.status for each in runs]
    assert ["k", None, None] == [each.key for each in runs]
    assert [0, 1, 2] == [each.repeat_remaining for each in runs]
    assert [[100], [100], [0, 100]] == [each.repeat_intervals for each in runs]
    assert 99 < runs[0].scheduled_at.timestamp() - time.time() < 101
    for each in runs:
        assert (job.payload, job.meta, job.priority, 2) == (each.payload, each.meta, each.priority, each.max_attempts)


async def test_next_run_has_all_options(app: Werk, dsn: str) -> None:
    """Whatever a repeating job was given, the next run has as well, time-outs of callbacks included."""
    await run(
        app,
        handlers.echo,
        word="again",
        _queue="default",
        _priority=3,
        _retry=Retry(max=4, intervals=[1, 2]),
        _timeout=30,
        _heartbeat=20,
        _key="k",
        _group="g",
        _meta={"a": 1},
        _result_ttl=100,
        _failure_ttl=200,
        _ttl=300,
        _on_success=Callback(handlers.plain_echo, timeout=5),
        _on_failure=Callback(handlers.plain_echo, timeout=6),
        _on_stopped=Callback(handlers.plain_echo, timeout=7),
        _repeat=Repeat(times=2, interval=500),
        _failure_mode="delete",
    )
    own = {"id", "status", "attempts", "scheduled_at", "enqueued_at", "key", "result", "started_at", "completed_at"}
    own |= {"touched_at", "expires_at", "worker_id", "repeat_remaining"}
    own |= {"callback", "callback_due", "callback_tries"}
    async with await psycopg.AsyncConnection.connect(dsn, row_factory=dict_row) as connection:
        query = f'SELECT * FROM {app.config.schema}."_pgwerk_jobs" ORDER BY id'
        cursor = await connection.execute(query.encode())
        first, second = await cursor.fetchall()
    for row in (first, second):
        for column in own:
            row.pop(column)
    assert first == second
    unset = {name for name, value in first.items() if value is None}
    assert {"cron_name", "error", "repeat_intervals"} == unset


async def test_failed_run_ends_the_repetition(app: Werk) -> None:
    """A repeating job goes on after success only."""
    await run(app, handlers.fail, _repeat=Repeat(times=2))
    assert [JobStatus.Failed] == [job.status for job in await app.list_jobs()]


async def test_failure_mode_delete(app: Werk) -> None:
    """With `failure_mode="delete"`, the row of a job that failed for good is removed, with its history."""
    with pytest.raises(JobNotFound):
        await run(app, handlers.fail, _failure_mode="delete", _retry=Retry(max=2))
    assert JobStatus.Complete is (await run(app, handlers.echo, _failure_mode="delete")).status


async def test_kept_as_long_as_asked_for(app: Werk) -> None:
    """A finished row gets its expiry from `result_ttl` or `failure_ttl`; without one it stays."""
    for func, option, seconds in ((handlers.echo, "_result_ttl", 50), (handlers.fail, "_failure_ttl", 70)):
        job = await run(app, func, **{option: seconds})
        assert job.expires_at is not None
        assert job.completed_at is not None
        assert seconds == (job.expires_at - job.completed_at).total_seconds()
    assert (await run(app, handlers.echo)).expires_at is None


async def test_ttl_ends_with_the_start(app: Werk) -> None:
    """A job that has started does not expire any more, also when it waits for its next attempt."""
    job = await run(app, handlers.fail, _ttl=5, _retry=Retry(max=2, intervals=[100]))
    assert (JobStatus.Scheduled, None) == (job.status, job.expires_at)


async def test_priority_order(app: Werk) -> None:
    """One worker of concurrency 1 starts the highest priority first, then the oldest."""
    specs = [EnqueueParams(handlers.echo, (number,), priority=number % 3) for number in range(9)]
    await app.enqueue_many(specs)
    await AsyncWorker(app, concurrency=1, burst=True, handle_signals=False).run()
    jobs = sorted(await app.list_jobs(), key=lambda job: str(job.started_at))
    assert [2, 5, 8, 1, 4, 7, 0, 3, 6] == [job.result for job in jobs]


async def test_priority_order_over_queues_and_groups(app: Werk) -> None:
    """The order of priorities holds over all queues of a worker, and over jobs with and without a group."""
    specs = [
        EnqueueParams(
            handlers.echo,
            (number,),
            priority=number % 4,
            queue="ab"[number % 2],
            group=f"g{number}" if number % 3 else None,
        )
        for number in range(24)
    ]
    await app.enqueue_many(specs)
    await AsyncWorker(app, ["a", "b", "empty"], concurrency=1, burst=True, handle_signals=False).run()
    jobs = sorted(await app.list_jobs(), key=lambda job: str(job.started_at))
    assert sorted(range(24), key=lambda number: (-(number % 4), number)) == [job.result for job in jobs]


async def test_only_its_queues(app: Werk) -> None:
    """A worker takes jobs of its own queues only."""
    job = await app.enqueue(handlers.echo, _queue="other")
    assert job is not None
    await AsyncWorker(app, ["mine"], burst=True, handle_signals=False).run()
    assert JobStatus.Queued is (await app.get_job(job.id)).status


async def test_due_job_starts_on_time(app: Werk) -> None:
    """An idle worker starts a scheduled job within 50 ms of its time, though it polls every 5 s (median of 5)."""
    worker = AsyncWorker(app, handle_signals=False, poll_interval=5)
    task = asyncio.create_task(worker.run())
    late = []
    for _ in range(5):
        job = await app.enqueue(handlers.echo, _delay=0.5)
        assert job is not None
        ended = await app.wait_for(job.id, timeout=DEADLINE)
        assert ended.started_at is not None
        late.append((ended.started_at - job.scheduled_at).total_seconds())
    worker.stop()
    await task
    assert 0 <= sorted(late)[2] < 0.05


async def test_polls_without_notifications(app: Werk) -> None:
    """A worker that does not listen finds jobs by polling."""
    worker = AsyncWorker(app, handle_signals=False, poll_interval=0.1, listen=False)
    task = asyncio.create_task(worker.run())
    assert 1 == await app.apply(handlers.echo, 1, timeout=DEADLINE)
    assert 2 == await app.apply(handlers.echo, 2, _delay=0.2, timeout=DEADLINE)
    worker.stop()
    await task


async def test_concurrency_is_the_limit(app: Werk) -> None:
    """No more jobs run at one time than `concurrency` says, of coroutines and threads together."""
    for number in range(12):
        await app.enqueue(handlers.count_running, number)
        await app.enqueue(handlers.plain_count_running, number)
    await AsyncWorker(app, concurrency=4, burst=True, handle_signals=False).run()
    results = [job.result for job in await app.list_jobs()]
    assert 24 == len(results)
    assert 4 == max(results)


async def test_job_id_is_in_the_log(app: Werk, caplog: pytest.LogCaptureFixture) -> None:
    """What goes wrong is logged with the job's id and function."""
    with caplog.at_level(logging.WARNING, "pgwerk"):
        job = await run(app, handlers.fail)
    assert any(job.id in record.getMessage() and "ValueError" in record.getMessage() for record in caplog.records)


async def test_worker_is_on_the_list_while_it_runs(app: Werk) -> None:
    """The workers table has a row for each worker, and loses it when the worker stops."""
    async with await psycopg.AsyncConnection.connect(app.dsn, autocommit=True) as connection:
        query = f'SELECT id::text, kind, queues, concurrency FROM {app.config.schema}."_pgwerk_workers"'.encode()
        worker = AsyncWorker(app, ["a", "b"], 3, handle_signals=False)
        task = asyncio.create_task(worker.run())
        rows: list[Any] = []
        while not rows:
            rows = await (await connection.execute(query)).fetchall()
        assert [(worker.id, "async", ["a", "b"], 3)] == rows
        worker.stop()
        await task
        assert [] == await (await connection.execute(query)).fetchall()


async def test_shutdown_lets_jobs_end(app: Werk) -> None:
    """A worker that is stopped finishes what it runs, and claims nothing more."""
    running = await app.enqueue(handlers.stubborn, 0.5)
    assert running is not None
    worker = AsyncWorker(app, concurrency=1, handle_signals=False)
    task = asyncio.create_task(worker.run())
    await until_status(app, running.id, JobStatus.Active)
    left = await app.enqueue(handlers.echo)
    assert left is not None
    worker.stop()
    await task
    assert JobStatus.Complete is (await app.get_job(running.id)).status
    assert JobStatus.Queued is (await app.get_job(left.id)).status


async def test_shutdown_gives_back_what_does_not_end(app: Werk) -> None:
    """What is still running after `shutdown_timeout` is given back: ready again, no attempt counted, no history."""
    job = await app.enqueue(handlers.hang)
    assert job is not None
    worker = AsyncWorker(app, shutdown_timeout=0, handle_signals=False)
    task = asyncio.create_task(worker.run())
    await until_status(app, job.id, JobStatus.Active)
    worker.stop()
    await task
    assert job == await app.get_job(job.id)
    assert [] == await app.get_executions(job.id)


async def test_cancelled_run_gives_back(app: Werk) -> None:
    """Cancelling `run()` gives back what is running, and raises the cancellation."""
    job = await app.enqueue(handlers.hang)
    assert job is not None
    task = asyncio.create_task(AsyncWorker(app, handle_signals=False).run())
    await until_status(app, job.id, JobStatus.Active)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert job == await app.get_job(job.id)


async def test_second_stop_does_not_wait_for_threads(app: Werk) -> None:
    """Asked a second time, a worker leaves a thread that does not end; its lease decides about the job."""
    job = await app.enqueue(handlers.plain_sleep, 5)
    assert job is not None
    worker = AsyncWorker(app, shutdown_timeout=0, handle_signals=False)
    task = asyncio.create_task(worker.run())
    await until_status(app, job.id, JobStatus.Active)
    began = time.monotonic()
    worker.stop()
    worker.stop(now=True)
    await task
    assert time.monotonic() - began < 4
    assert JobStatus.Active is (await app.get_job(job.id)).status


async def test_worker_runs_once(app: Werk) -> None:
    """A worker that is started twice, or again after it has stopped, says so."""
    worker = AsyncWorker(app, burst=True, handle_signals=False)
    await worker.run()
    with pytest.raises(RuntimeError, match="a worker runs once"):
        await worker.run()


async def test_stop_before_the_start(app: Werk) -> None:
    """A worker that is stopped before it runs says so when it is run after all."""
    worker = AsyncWorker(app, handle_signals=False)
    worker.stop()
    with pytest.raises(RuntimeError, match="this worker was stopped, and a worker runs once"):
        await worker.run()


async def test_start_while_running(app: Werk) -> None:
    """A worker that runs cannot be started a second time, and goes on."""
    async with working(app) as worker:
        assert 6 == await app.apply(handlers.echo, 6, timeout=DEADLINE)
        with pytest.raises(RuntimeError, match="this worker runs already"):
            await worker.run()
        assert 7 == await app.apply(handlers.echo, 7, timeout=DEADLINE)


async def test_heartbeat_is_renewed_while_the_handler_lives(app: Werk) -> None:
    """A job with a heartbeat deadline is not taken for dead while its handler runs."""
    job = await app.enqueue(handlers.stubborn, 2.5, _heartbeat=1)
    assert job is not None
    worker = AsyncWorker(app, handle_signals=False)
    task = asyncio.create_task(worker.run())
    ended = asyncio.create_task(app.wait_for(job.id, timeout=DEADLINE))
    while not ended.done():
        assert [] == await app.sweep()
        await asyncio.sleep(0.1)
    worker.stop()
    await task
    assert ["swallowed"] == [(await ended).result]
    assert [ExecutionStatus.Complete] == [each.status for each in await app.get_executions(job.id)]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"queues": []}, ValueError, "queues must not be empty"),
        ({"queues": "default"}, TypeError, "queues must be a list of str"),
        ({"queues": [1]}, TypeError, r"queues\[0\] must be a str"),
        ({"concurrency": 0}, ValueError, "concurrency must be at least 1"),
        ({"concurrency": 1.5}, TypeError, "concurrency must be an int"),
        ({"poll_interval": 0}, ValueError, "poll_interval must be more than 0"),
        ({"heartbeat_interval": -1}, ValueError, "heartbeat_interval must be more than 0"),
        ({"shutdown_timeout": -1}, ValueError, "shutdown_timeout must be at least 0"),
        ({"burst": 1}, TypeError, "burst must be True or False"),
    ],
)
async def test_bad_option_is_refused(app: Werk, options: dict[str, Any], error: type[Exception], message: str) -> None:
    """An option that makes no sense is refused when the worker is made."""
    with pytest.raises(error, match=message):
        AsyncWorker(app, **options)


async def test_worker_needs_a_client_and_a_kind(app: Werk) -> None:
    """A worker of no client, and one of no kind, are refused."""
    with pytest.raises(TypeError, match="app must be a Werk or a SyncWerk"):
        AsyncWorker("dsn")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="abstract"):
        BaseWorker(app)  # type: ignore[abstract]


async def until_status(app: Werk, job_id: str, status: JobStatus) -> None:
    """Wait until a job has a status."""
    deadline = time.monotonic() + DEADLINE
    while (await app.get_job(job_id)).status is not status:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
