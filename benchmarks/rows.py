"""Rows of our tables, written by SQL: a million of them in seconds, where the client would take minutes.

What is not said about them is as if `enqueue` had written it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import psycopg
from attrs import frozen

from benchmarks import tables
from benchmarks.handlers import counted
from pgwerk import Werk

# Ids begin with a time, as ours do, and go on at random.
_INSERT = """
    INSERT INTO {schema}._pgwerk_jobs (
        id, function, queue, status, priority, scheduled_at, enqueued_at, group_key, payload,
        attempts, result, worker_id, started_at, completed_at, touched_at
    )
    SELECT
        (
            lpad(to_hex((extract(epoch FROM t.due) * 1000)::bigint), 12, '0')
            || '-7' || substr(gen_random_uuid()::text, 16)
        )::uuid,
        %(function)s, {rows.queue}, {rows.status}, {rows.priority}, {rows.scheduled_at}, t.due, {rows.group_key},
        '{{"args": [], "kwargs": {{}}}}', {rows.ran_as}
    FROM generate_series(1, %(count)s) AS n
    CROSS JOIN LATERAL (
        SELECT statement_timestamp() - {rows.age} + n * interval '1 microsecond' AS due
    ) AS t
"""
_UNSTARTED = "0, NULL, NULL, NULL, NULL, NULL"
_COMPLETE = "1, 'null', '00000000-0000-7000-8000-000000000000', t.due, t.due, t.due"
# Its worker is alive for as long as this takes, and the job itself was heard of just now.
_ACTIVE = "1, NULL, '00000000-0000-7000-8000-000000000001', now(), NULL, now() + interval '1 day'"
_ADD_WORKER = """
    INSERT INTO {schema}._pgwerk_workers (
        id, kind, host, pid, queues, concurrency, version, started_at, heartbeat_at, lease_secs
    )
    VALUES (
        '00000000-0000-7000-8000-000000000001', 'AsyncWorker', 'elsewhere', 1, '{{}}', 1, '0', now(),
        now() + interval '1 day', 86400
    )
"""
_ADD_EXECUTIONS = """
    INSERT INTO {schema}._pgwerk_executions (job_id, attempt, status, worker_id, started_at, completed_at)
    SELECT id, attempts, status, worker_id, started_at, completed_at
    FROM {schema}._pgwerk_jobs
    WHERE completed_at IS NOT NULL
"""
_ADD_DEPENDENCIES = """
    INSERT INTO {schema}._pgwerk_dependencies (child_id, parent_id)
    SELECT c.id, p.id
    FROM {schema}._pgwerk_jobs c, {schema}._pgwerk_jobs p
    WHERE c.status = 'waiting' AND p.status = {parent}
"""


@frozen(kw_only=True)
class Rows:
    """Jobs of one kind: SQL expressions over the number `n` of the row and the time `t.due`.

    Attributes:
        queue: The queue.
        status: The status.
        priority: The priority.
        scheduled_at: The time from which on they are ready.
        group_key: The group.
        age: How long ago the first one was enqueued.
        ran_as: What running has left in a row.
    """

    queue: str = "'default'"
    status: str = "'queued'"
    priority: str = "0"
    scheduled_at: str = "t.due"
    group_key: str = "NULL"
    age: str = "interval '1 minute'"
    ran_as: str = _UNSTARTED


READY = Rows()
COMPLETE = Rows(status="'complete'", age="interval '1 hour'", ran_as=_COMPLETE)
IN_FUTURE = Rows(status="'scheduled'", scheduled_at="t.due + interval '1 day' + mod(n, 1000) * interval '1 hour'")
WAITING = Rows(status="'waiting'")
RUNNING_IN_GROUP = Rows(status="'active'", group_key="'blocked'", ran_as=_ACTIVE)
BLOCKED = Rows(group_key="'blocked'", age="interval '1 hour'")


async def make_tables(dsn: str, schema: str) -> None:
    """Make our tables anew, in a schema."""
    await tables.drop(dsn, schema)
    async with Werk(dsn, schema=schema):
        pass


class Writer:
    """Writes rows into one schema.

    Args:
        connection: On which each statement commits by itself.
        schema: The schema.
    """

    def __init__(self, connection: psycopg.AsyncConnection[Any], schema: str) -> None:
        self._connection = connection
        self._schema = schema

    async def add(self, rows: Rows, count: int, *, function: Callable[..., Any] = counted) -> None:
        """Write so many rows."""
        statement = _INSERT.format(schema=self._schema, rows=rows)
        path = f"{function.__module__}.{function.__qualname__}"
        await self._connection.execute(statement.encode(), {"function": path, "count": count})

    async def add_worker(self) -> None:
        """Write the worker that runs what is active."""
        await self._execute(_ADD_WORKER)

    async def add_executions(self) -> None:
        """Write the history of all jobs that have ended."""
        await self._execute(_ADD_EXECUTIONS)

    async def add_dependencies(self, *, parent: str) -> None:
        """Let all jobs that wait have the one job of a status as their parent."""
        await self._execute(_ADD_DEPENDENCIES, parent=parent)

    async def tidy_up(self) -> None:
        """Leave the tables as autovacuum would, and nothing for the next checkpoint."""
        for name in ("jobs", "executions", "dependencies"):
            await self._execute(f"VACUUM (ANALYZE) {{schema}}._pgwerk_{name}")
        with contextlib.suppress(psycopg.errors.InsufficientPrivilege):
            await self._execute("CHECKPOINT")

    async def _execute(self, statement: str, **names: str) -> None:
        await self._connection.execute(statement.format(schema=self._schema, **names).encode())
