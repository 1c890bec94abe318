"""A program as users write it: nothing in it may be unknown to a strict type checker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from tests.typing import handlers

from pgwerk import (
    Callback,
    Dependency,
    EnqueueParams,
    Enqueuer,
    FailureMode,
    Finding,
    Job,
    JobError,
    JobExecution,
    JobStatus,
    JSONSerializer,
    Overview,
    QueueStats,
    Repeat,
    Retry,
    RunningJob,
    Serializer,
    ServerInfo,
    Werk,
    WerkConfig,
    WorkerInfo,
)


def make_client(dsn: str) -> Werk:
    serializer: Serializer = JSONSerializer()
    app = Werk(
        dsn,
        config=WerkConfig(prefix="_jobs", sweep_interval=30.0),
        schema="jobs",
        serializer=serializer,
        max_active_secs=600,
        log_level="INFO",
        log_format="json",
        auto_migrate=False,
        pool_size=4,
        pooler="auto",
        listen_dsn=dsn,
        allowed_functions=["myapp.tasks.*"],
    )
    app.on_startup(warm_up)
    app.on_shutdown(warm_up)
    app.register_before_enqueue(announce)
    app.unregister_before_enqueue(announce)
    return app


def warm_up() -> None:
    print("ready")


def announce(job: Job) -> None:
    print(job.function)


async def enqueue(app: Werk, connection: psycopg.AsyncConnection) -> list[str]:
    first = await app.enqueue(handlers.add, 1, b=2)
    assert first is not None
    second = await app.enqueue(
        handlers.greet,
        "you",
        loud=True,
        _queue="mail",
        _priority=5,
        _delay=timedelta(minutes=1),
        _retry=Retry(max=4, intervals=[10, 60, 300]),
        _key="greeting",
        _meta={"tenant": 7},
        _on_success=Callback(handlers.find, timeout=10),
        _on_failure="myapp.tasks.failed",
        _repeat=Repeat(times=5, interval=3600),
        _depends_on=[first, Dependency(first.id, allow_failure=True)],
        _failure_mode=FailureMode.Hold,
    )
    async with connection.transaction():
        await app.enqueue("myapp.tasks.add", 1, _at=datetime.now(UTC), _conn=connection)
    specs = [EnqueueParams(handlers.add, kwargs={"a": number}, queue="bulk") for number in range(100)]
    many = await app.enqueue_many(specs, _conn=connection)
    return [job.id for job in [first, second, *many] if job is not None]


def make_enqueuer(app: Werk) -> Enqueuer[Job]:
    return app.options(queue="mail", retry=Retry(max=3), on_failure=handlers.anything, wait_timeout=30)


async def enqueue_bound(mail: Enqueuer[Job]) -> Job | None:
    job = await mail.enqueue(handlers.greet, "you", loud=True)
    print(job.id)
    return await mail.options(key="once").enqueue(handlers.add, 1)


async def wait(app: Werk, mail: Enqueuer[Job], job_id: str) -> int:
    total = await app.apply(handlers.add, 1, b=2, timeout=10)
    total += sum(await app.map(handlers.plain_add, [{"a": number} for number in range(10)], timeout=10))
    total += await mail.apply(handlers.add, total)
    for result in await mail.map(handlers.add, [{"a": 1}], return_exceptions=True):
        total += 0 if isinstance(result, JobError) else result
    try:
        ended = await app.wait_for(job_id, timeout=60)
    except JobError as error:
        print(error.job.error)
    else:
        print(ended.status.is_terminal, ended.result)
    return total


async def look(app: Werk, job_id: str) -> dict[str, Any]:
    job: Job = await app.get_job(job_id)
    failed: list[Job] = await app.list_jobs(queue="mail", status=[JobStatus.Failed, "aborted"], limit=10)
    attempts: list[JobExecution] = await app.get_executions(job.id)
    rescued: list[str] = await app.sweep()
    await app.touch_job(job_id)
    times = {attempt.attempt: attempt.started_at for attempt in attempts}
    return {"payload": job.payload, "meta": job.meta, "failed": len(failed), "times": times, "rescued": rescued}


async def oversee(app: Werk) -> list[str]:
    queues: list[QueueStats] = await app.queue_stats(timedelta(minutes=5), slices=10)
    workers: list[WorkerInfo] = await app.list_workers()
    running: list[RunningJob] = await app.list_running(limit=10)
    overview: Overview = await app.overview(60)
    server: ServerInfo = await app.server_info()
    findings: list[Finding] = await app.diagnose()
    slow = [queue.queue for queue in queues if (queue.wait.p95 or 0.0) > 10 or (queue.failure_rate or 0.0) > 0.5]
    lapsed = [worker.id for worker in workers if not worker.is_alive]
    long = [job.id for job in (*running, *overview.running) if job.running_secs > 3600]
    large = [table.name for table in server.tables if table.bytes + table.index_bytes > 10**9]
    return [*slow, *lapsed, *long, *large, *(each.advice for each in findings if each.severity == "problem")]


async def manage(app: Werk, job_id: str) -> int:
    did: list[bool] = [await app.cancel_job(job_id), await app.requeue_job(job_id), await app.abort_job(job_id)]
    parents: list[str] = await app.get_job_dependencies(job_id)
    await app.delete_job(job_id)
    count = await app.bulk_requeue_jobs(queue="mail", function_name="myapp.tasks.add")
    count += await app.bulk_cancel_jobs(queue="mail")
    count += await app.purge_jobs([JobStatus.Complete, JobStatus.Aborted], older_than_days=30)
    await app.vacuum()
    await app.truncate()
    return sum(did) + len(parents) + count


async def main(dsn: str) -> None:
    async with make_client(dsn) as app, await psycopg.AsyncConnection.connect(dsn) as connection:
        ids = await enqueue(app, connection)
        mail = make_enqueuer(app)
        await enqueue_bound(mail)
        print(await wait(app, mail, ids[0]), await look(app, ids[0]), await manage(app, ids[0]))
