"""The tables of both sides: emptied before each turn.

The floor has the least that keeps what we keep: jobs with payload, result and the times of their life, the same ready
index, and a row for each attempt.
"""

from __future__ import annotations

import os
import time
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from benchmarks.handlers import noop
from pgwerk import Werk

FLOOR_JOBS = "floor.jobs"
FLOOR_EXECUTIONS = "floor.executions"
OUR_SCHEMA = "pgwerk"
OUR_JOBS = "pgwerk._pgwerk_jobs"
OUR_EXECUTIONS = "pgwerk._pgwerk_executions"

FUNCTION = f"{noop.__module__}.{noop.__qualname__}"
"""What the floor writes into its column of that name."""

PLANNER = """
    SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off;
    SET plan_cache_mode = force_generic_plan
"""
"""The fastest way to run a prepared claim: else each is planned anew, and one of 500 as a scan of the whole table."""

_FLOOR = f"""
    CREATE SCHEMA floor;
    CREATE TABLE {FLOOR_JOBS} (
        id uuid PRIMARY KEY,
        function text NOT NULL,
        queue text NOT NULL,
        status text NOT NULL,
        priority integer NOT NULL,
        attempts integer NOT NULL DEFAULT 0,
        scheduled_at timestamptz NOT NULL,
        payload jsonb,
        result jsonb,
        worker_id uuid,
        started_at timestamptz,
        completed_at timestamptz
    );
    CREATE INDEX ON {FLOOR_JOBS} (queue, priority DESC, scheduled_at, id) WHERE status = 'queued';
    CREATE TABLE {FLOOR_EXECUTIONS} (
        job_id uuid NOT NULL,
        attempt integer NOT NULL,
        status text NOT NULL,
        worker_id uuid,
        started_at timestamptz,
        completed_at timestamptz,
        PRIMARY KEY (job_id, attempt)
    );
"""


async def connect(dsn: str) -> psycopg.AsyncConnection[tuple[object, ...]]:
    """A connection on which each statement commits by itself."""
    return await psycopg.AsyncConnection.connect(dsn, autocommit=True)


async def value(connection: psycopg.AsyncConnection[Any], query: str) -> Any:
    """The one value of a query's one row."""
    row = await (await connection.execute(query.encode())).fetchone()
    assert row is not None
    return row[0]


async def drop(dsn: str, *schemas: str) -> None:
    """Drop schemas with all that is in them, by default those of both sides."""
    names = ", ".join(schemas or ("floor", OUR_SCHEMA))
    async with await connect(dsn) as connection:
        await connection.execute(f"DROP SCHEMA IF EXISTS {names} CASCADE".encode())


async def empty_floor(dsn: str, **_: object) -> None:
    """Make the floor's tables anew."""
    await drop(dsn)
    async with await connect(dsn) as connection:
        await connection.execute(_FLOOR)


async def empty_ours(dsn: str, **_: object) -> None:
    """Make our tables anew."""
    await drop(dsn)
    await add_ours(dsn)


async def add_ours(dsn: str, **_: object) -> None:
    """Make our tables beside those of the floor."""
    async with Werk(dsn):
        pass


def new_ids(count: int) -> list[UUID]:
    """Ids that sort by time, as ours do (UUID version 7)."""
    stamp = time.time_ns() // 1_000_000 << 80
    version_and_variant = 0x7 << 76 | 0x2 << 62
    free_bits = ~(0xF << 76 | 0x3 << 62)
    noise = os.urandom(10 * count)
    values = (stamp | int.from_bytes(noise[start : start + 10], "big") for start in range(0, len(noise), 10))
    return [UUID(int=value) for value in sorted((value & free_bits) | version_and_variant for value in values)]


def arguments() -> Jsonb:
    """The payload of a call without arguments, serialized when it is sent."""
    return Jsonb({"args": [], "kwargs": {}})
