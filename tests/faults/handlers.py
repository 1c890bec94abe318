"""Handlers that leave an effect behind: a row in a table of the scenario's own, over a connection of their own.

The row is written in the middle of the work, so that a fault may come before it and after it. What a handler returns is
the token of its row: the result of a job tells which run of which attempt it came from.

They run in whatever way a kind of worker has: on an event loop, in threads, in children that were forked or spawned.
So a connection belongs to one thread, or one loop, of one process. What leads to the database is in the environment,
which children inherit.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import uuid
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import psycopg

from pgwerk import Context

DSN = "PGWERK_FAULTS_DSN"
SCHEMA = "PGWERK_FAULTS_SCHEMA"

PATIENCE_SECS = 60.0
"""How long a handler goes on trying to write its row: the server may be restarted meanwhile."""
PAUSE_SECS = 0.05
TOO_EARLY = "the first attempt fails"

EFFECT = (
    "INSERT INTO {}.effects (token, job_id, attempt, worker_id, pid) VALUES (%s, %s, %s, %s, %s) "
    # It may have been written by a statement whose answer was lost.
    "ON CONFLICT (token) DO NOTHING"
)
EFFECTS = (
    "INSERT INTO {}.effects (token, job_id, attempt, worker_id, pid) "
    "SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::integer[], %s::uuid[], %s::integer[]) ON CONFLICT DO NOTHING"
)
ENTER = "INSERT INTO {}.inside (group_key, token) VALUES (%s, %s) ON CONFLICT DO NOTHING RETURNING token"
OVERLAP = "INSERT INTO {}.overlaps (group_key, job_id) VALUES (%s, %s)"
LEAVE = "DELETE FROM {}.inside WHERE token = %s"

Rows = list[tuple[Any, ...]]

# By process and thread. Those of a parent stay here: to close them would end its sessions.
_blocking: dict[tuple[int, int], psycopg.Connection[Any]] = {}
# By loop: some kinds of workers make one for each job.
_asyncio: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = WeakKeyDictionary()

_batch: list[tuple[tuple[object, ...], asyncio.Future[None]]] = []
_writing: set[asyncio.Task[None]] = set()


async def work(ctx: Context, secs: float) -> str:
    """Take some time, and leave an effect."""
    await asyncio.sleep(secs / 2)
    token = await _note(ctx)
    await asyncio.sleep(secs / 2)
    return token


def work_plain(ctx: Context, secs: float) -> str:
    """The same as a plain function."""
    time.sleep(secs / 2)
    token = _note_plain(ctx)
    time.sleep(secs / 2)
    return token


async def work_briefly(ctx: Context) -> str:
    """Leave an effect, written together with those of others: as fast as it gets."""
    token = str(uuid.uuid4())
    loop = asyncio.get_running_loop()
    written: asyncio.Future[None] = loop.create_future()
    _batch.append((_effect(ctx, token), written))
    if len(_batch) == 1:
        _writing.add(task := loop.create_task(_write_batch()))
        task.add_done_callback(_writing.discard)
    await written
    return token


async def work_late(ctx: Context, secs: float) -> str:
    """Fail at first."""
    if ctx.job.attempts == 1:
        raise RuntimeError(TOO_EARLY)
    return await work(ctx, secs)


async def work_in_second(ctx: Context) -> str:
    """Never end the first attempt; the second one leaves an effect."""
    if ctx.job.attempts == 1:
        await asyncio.Event().wait()
    return await _note(ctx)


async def enqueue_later(ctx: Context, secs: float, delay: float) -> str:
    """Enqueue another job, which is to start some time from now."""
    child = await ctx.app.enqueue(work, secs, _delay=delay, _retry=ctx.job.max_attempts, _key=f"child of {ctx.job.id}")
    assert child is not None
    return await work(ctx, secs)


async def work_alone(ctx: Context, secs: float) -> str:
    """Take some time, and write down when another job of the group does so, too."""
    token = str(uuid.uuid4())
    if not await _execute(ENTER, ctx.job.group_key, token):
        await _execute(OVERLAP, ctx.job.group_key, ctx.job.id)
    await _execute(EFFECT, *_effect(ctx, token))
    await asyncio.sleep(secs)
    await _execute(LEAVE, token)
    return token


async def _write_batch() -> None:
    await asyncio.sleep(0)
    batch = _batch[:]
    _batch.clear()
    try:
        await _execute(EFFECTS, *map(list, zip(*(effect for effect, _ in batch), strict=True)))
    finally:
        # Written or not: a job whose effect is missing is found in the end.
        for _, written in batch:
            if not written.done():
                written.set_result(None)


async def _note(ctx: Context) -> str:
    token = str(uuid.uuid4())
    await _execute(EFFECT, *_effect(ctx, token))
    return token


def _note_plain(ctx: Context) -> str:
    token = str(uuid.uuid4())
    _execute_plain(EFFECT, *_effect(ctx, token))
    return token


def _effect(ctx: Context, token: str) -> tuple[object, ...]:
    return token, ctx.job.id, ctx.job.attempts, ctx.job.worker_id, os.getpid()


class _Line:
    """The connection of one loop, for one statement at a time."""

    def __init__(self) -> None:
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._lock = asyncio.Lock()

    async def execute(self, query: str, params: Sequence[object]) -> Rows:
        async with self._lock:
            if self._connection is None or self._connection.closed:
                self._connection = await psycopg.AsyncConnection.connect(
                    os.environ[DSN], autocommit=True, prepare_threshold=None
                )
            cursor = await self._connection.execute(_rendered(query), params)
            return await cursor.fetchall() if cursor.description else []


async def _execute(query: str, *params: object) -> Rows:
    line = _asyncio.setdefault(asyncio.get_running_loop(), _Line())
    deadline = time.monotonic() + PATIENCE_SECS
    while True:
        try:
            return await line.execute(query, params)
        except psycopg.OperationalError:
            _give_up_after(deadline)
            await asyncio.sleep(PAUSE_SECS)


def _execute_plain(query: str, *params: object) -> None:
    deadline = time.monotonic() + PATIENCE_SECS
    key = os.getpid(), threading.get_ident()
    while True:
        try:
            if key not in _blocking:
                _blocking[key] = psycopg.connect(os.environ[DSN], autocommit=True, prepare_threshold=None)
            _blocking[key].execute(_rendered(query), params)
        except psycopg.OperationalError:
            _give_up_after(deadline)
            _blocking.pop(key, None)
            time.sleep(PAUSE_SECS)
        else:
            return


def _rendered(query: str) -> bytes:
    return query.format(os.environ[SCHEMA]).encode()


def _give_up_after(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise TimeoutError(f"the effect could not be written for {PATIENCE_SECS:g} s")
