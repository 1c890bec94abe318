"""Clocks of workers that are an hour off: times come from the database."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.faults import handlers
from tests.faults.arena import Arena, Scale
from tests.faults.workers import Worker

from pgwerk import EnqueueParams, Retry

HOUR = 3600
OFFSETS = {"ahead": HOUR, "behind": -HOUR}
"""The queue that only this worker has, and by how many seconds its clock is off."""
IN_PROCESS = {"async", "thread"}
LATE_SECS = 20.0
"""How late a job may start on a busy machine; what is measured is off by an hour when it is wrong."""
OPTIONS: dict[str, Any] = {"heartbeat_interval": 0.5, "sweep_interval": 0.3, "poll_interval": 0.2, "concurrency": 10}
LEASE_SECS = 3 * OPTIONS["heartbeat_interval"]

# Whatever the worker writes lies between the beginning of the scenario and now.
TIMES = (
    "SELECT count(*) FROM ("
    "SELECT unnest(ARRAY[enqueued_at, started_at, completed_at, touched_at]) AS at FROM {jobs} UNION ALL "
    "SELECT unnest(ARRAY[started_at, completed_at]) FROM {executions} UNION ALL "
    "SELECT unnest(ARRAY[started_at, heartbeat_at]) FROM {workers}) AS times "
    "WHERE at NOT BETWEEN %s AND clock_timestamp()"
)
# The first effect of a job that was delayed, against what it was delayed to.
UNTIMELY = (
    "SELECT count(*) FROM {jobs} j JOIN (SELECT job_id, min(noted_at) AS at FROM {schema}.effects GROUP BY 1) e "
    "ON e.job_id = j.id WHERE j.attempts = 1 AND e.at NOT BETWEEN j.scheduled_at "
    "AND j.scheduled_at + %s * interval '1 s'"
)
DELAYS = (
    "SELECT count(*) FROM {jobs} WHERE key IS NOT NULL "
    "AND abs(extract(epoch FROM scheduled_at - enqueued_at) - %s) > 0.5"
)
RETRIED = (
    "SELECT count(*) FROM {executions} a JOIN {executions} b ON b.job_id = a.job_id AND b.attempt = a.attempt + 1 "
    "WHERE b.started_at NOT BETWEEN a.completed_at + interval '1 s' AND a.completed_at + %s * interval '1 s'"
)
RESCUED = "SELECT count(*) FROM {executions} WHERE status = 'failed' AND error NOT LIKE %s"
# The ids that jobs were given by a worker begin with the time on its clock.
RIGHT = (
    "SELECT count(*) FROM {jobs} WHERE key IS NOT NULL AND abs(extract(epoch FROM enqueued_at) - "
    "('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint / 1000.0) < %s"
)


async def shifted(arena: Arena, scale: Scale) -> int:
    """A worker an hour ahead and one an hour behind: nothing starts early or late, and nobody is robbed by mistake.

    Then each is killed, and the other one, whose clock is just as wrong, rescues its job. Gives the number of clocks
    that were wrong, and of kills.
    """
    began = await arena.tables.value("SELECT clock_timestamp()")
    workers = {queue: await start(arena, scale, queue) for queue in OFFSETS}
    await arena.until_ready(*workers.values())
    number = scale.pick(10, 100)
    for queue in OFFSETS:
        job = partial(EnqueueParams, queue=queue)
        long = [job(handlers.work, (2 * LEASE_SECS,)) for _ in range(2)]
        later = [job(handlers.work, (0.01,), delay=0.5 + each / number) for each in range(number)]
        failing = [job(handlers.work_late, (0.01,), retry=Retry(max=2, intervals=1)) for _ in range(number)]
        parents = [job(handlers.enqueue_later, (0.01, 1.0)) for _ in range(number)]
        await arena.enqueue(long + later + failing + parents)
    await arena.until_over()
    for what, query, params in (
        ("jobs were enqueued by workers whose clock is right", RIGHT, [HOUR - 60]),
        ("times in the tables come from a worker's clock", TIMES, [began]),
        ("jobs started before their time, or long after it", UNTIMELY, [LATE_SECS]),
        ("jobs were enqueued with a wrong delay", DELAYS, [1.0]),
        ("retries came too early, or much too late", RETRIED, [LATE_SECS]),
        ("jobs were taken away from a worker that lives", RESCUED, [f"%{handlers.TOO_EARLY}%"]),
    ):
        if wrong := await arena.tables.value(query, *params):
            arena.broke(f"{wrong} {what}")
    for queue, victim in workers.items():
        await rescue(arena, victim, queue)
        await start(arena, scale, queue)
    await arena.until_over()
    return 2 * len(OFFSETS)


async def start(arena: Arena, scale: Scale, queue: str) -> Worker:
    """Start the worker with the wrong clock that goes with a queue; it has another queue with the others together.

    Of a kind that runs handlers in its own process: children that a worker starts have the right clock.
    """
    kind = scale.kind() if scale.kind() in IN_PROCESS else "async"
    return await arena.start(kind, off_by=OFFSETS[queue], queues=["default", queue], **OPTIONS)


async def rescue(arena: Arena, victim: Worker, queue: str) -> None:
    """Kill a worker while it runs a job, which only it can: the other one gives the job free when the lease is over."""
    await arena.enqueue([EnqueueParams(handlers.work_in_second, (), retry=2, queue=queue)])
    (job_id,) = arena.accepted[-1:]
    runs = "SELECT status = 'active' FROM {jobs} WHERE id = %s"
    assert await arena.eventually(lambda: arena.tables.value(runs, job_id), 30), victim.log
    victim.kill()
    rescued = "SELECT count(*) = 1 FROM {executions} WHERE job_id = %s"
    if not await arena.eventually(lambda: arena.tables.value(rescued, job_id), 3 * LEASE_SECS + LATE_SECS):
        arena.broke("the job of a worker that was killed was not rescued by one with a wrong clock")
