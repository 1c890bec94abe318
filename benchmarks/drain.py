"""Drain: how many no-op jobs a second one worker process runs when the queue is full.

The time is that from the first claim to the last job settled, without the start of the process. Both are read from the
jobs themselves, on both sides: their times are those of the statements that claimed and settled them. A settling
statement tells when it began, so the last batch is left out of the count.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from uuid import uuid4

from benchmarks import tables
from benchmarks.handlers import noop
from benchmarks.measuring import JOBS_PER_SEC, Apart, Case, Side, Sizes
from pgwerk import AsyncWorker, EnqueueParams, Werk

JOBS = 20_000
CONCURRENCIES = (10, 100, 500)
TARGETS = {100: 0.4}

_LOAD = f"""
    INSERT INTO {tables.FLOOR_JOBS} (id, function, queue, status, priority, scheduled_at, payload)
    SELECT i.id, %(function)s, 'default', 'queued', 0, statement_timestamp(), %(payload)s
    FROM unnest(%(ids)b::uuid[]) AS i (id)
"""
CLAIM = f"""
    UPDATE {tables.FLOOR_JOBS} j
    SET status = 'active', worker_id = %(worker_id)s, attempts = attempts + 1, started_at = statement_timestamp()
    FROM (
        SELECT id
        FROM {tables.FLOOR_JOBS}
        WHERE queue = 'default' AND status = 'queued'
        ORDER BY priority DESC, scheduled_at, id
        LIMIT %(limit)s
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS picked
    WHERE j.id = picked.id
    RETURNING j.id, j.function, j.payload, j.attempts
"""
SETTLE = f"""
    WITH settled AS (
        UPDATE {tables.FLOOR_JOBS} j
        SET status = 'complete', result = i.result, completed_at = statement_timestamp()
        FROM unnest(%(ids)b::uuid[], %(results)b::jsonb[]) AS i (id, result)
        WHERE j.id = i.id AND j.worker_id = %(worker_id)s AND j.completed_at IS NULL
        RETURNING j.id, j.attempts, j.worker_id, j.started_at, j.completed_at
    )
    INSERT INTO {tables.FLOOR_EXECUTIONS} (job_id, attempt, status, worker_id, started_at, completed_at)
    SELECT id, attempts, 'complete', worker_id, started_at, completed_at
    FROM settled
"""
_CHECK = """
    SELECT
        (SELECT count(*) FROM {jobs} WHERE status = 'complete' AND attempts = 1 AND result = 'null'),
        (SELECT count(*) FROM {executions} WHERE status = 'complete' AND completed_at IS NOT NULL)
"""
_RATE = """
    SELECT count(*) FILTER (WHERE j.completed_at < last.settle) / extract(epoch FROM last.settle - min(j.started_at))
    FROM {jobs} j, (SELECT max(completed_at) AS settle FROM {jobs}) AS last
    GROUP BY last.settle
"""


def cases(sizes: Sizes) -> Iterable[Case]:
    """One for each concurrency."""
    for concurrency in CONCURRENCIES:
        yield Case(
            name=f"drain, concurrency {concurrency}",
            unit=JOBS_PER_SEC,
            sides=Apart(
                floor=Side(prepare=load_floor, measure=drain_floor),
                ours=Side(prepare=load_ours, measure=drain_ours),
            ),
            params={"jobs": sizes.jobs or JOBS, "concurrency": concurrency},
            target=TARGETS.get(concurrency),
        )


async def load_floor(dsn: str, *, jobs: int, **_: object) -> None:
    """Fill the floor's queue."""
    await tables.empty_floor(dsn)
    async with await tables.connect(dsn) as connection:
        params = {"ids": tables.new_ids(jobs), "function": tables.FUNCTION, "payload": tables.arguments()}
        await connection.execute(_LOAD, params)
        await connection.execute(f"ANALYZE {tables.FLOOR_JOBS}")


async def load_ours(dsn: str, *, jobs: int, **_: object) -> None:
    """Fill our queue."""
    await tables.empty_ours(dsn)
    async with Werk(dsn) as app:
        await app.enqueue_many([EnqueueParams(noop) for _ in range(jobs)])
    async with await tables.connect(dsn) as connection:
        await connection.execute(f"ANALYZE {tables.OUR_JOBS}")


async def drain_floor(dsn: str, *, jobs: int, concurrency: int) -> float:
    """Claim as many as the concurrency says, settle them with results and history, and so on."""
    worker_id = uuid4()
    async with await tables.connect(dsn) as connection, connection.cursor(binary=True) as cursor:
        await connection.execute(tables.PLANNER)
        while True:
            await cursor.execute(CLAIM, {"worker_id": worker_id, "limit": concurrency}, prepare=True)
            claimed = await cursor.fetchall()
            if not claimed:
                break
            ids = [row[0] for row in claimed]
            results = [json.dumps(None) for _ in claimed]
            await cursor.execute(SETTLE, {"ids": ids, "results": results, "worker_id": worker_id}, prepare=True)
    return await _rate(dsn, jobs, {"jobs": tables.FLOOR_JOBS, "executions": tables.FLOOR_EXECUTIONS})


async def drain_ours(dsn: str, *, jobs: int, concurrency: int) -> float:
    """Run one worker until nothing is left."""
    async with Werk(dsn) as app:
        await AsyncWorker(app, concurrency=concurrency, burst=True).run()
    return await _rate(dsn, jobs, {"jobs": tables.OUR_JOBS, "executions": tables.OUR_EXECUTIONS})


async def check(dsn: str, jobs: int, names: dict[str, str] | None = None) -> None:
    """Raise an error unless so many jobs are complete, with results and history; ours by default."""
    names = names or {"jobs": tables.OUR_JOBS, "executions": tables.OUR_EXECUTIONS}
    async with await tables.connect(dsn) as connection:
        found: Any = await (await connection.execute(_CHECK.format(**names).encode())).fetchone()
        if found != (jobs, jobs):
            raise RuntimeError(f"of {jobs} jobs and as many executions, {found} are complete in {names}")


async def _rate(dsn: str, jobs: int, names: dict[str, str]) -> float:
    """Jobs per second; an error if any is not complete, or was not remembered."""
    await check(dsn, jobs, names)
    async with await tables.connect(dsn) as connection:
        rate: Any = await (await connection.execute(_RATE.format(**names).encode())).fetchone()
        return float(rate[0])
