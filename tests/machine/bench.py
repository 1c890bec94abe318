"""The database, a client, and the parts of a worker, to be moved by hand; and what the tables say.

The client is the blocking one, which needs no more than a call. The parts of a worker are asyncio, so they get a loop,
which runs only while one of them does something: nothing happens behind the back of the machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Self, TypeVar

import psycopg
from attrs import frozen
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row
from tests.machine.invariants import DECIDABLE, INVARIANTS
from tests.machine.model import MAX_ACTIVE_SECS
from tests.machine.values import ATTEMPT_TIMES, COLUMNS, CONSTANTS, TIMES

from pgwerk import SyncWerk, WerkConfig
from pgwerk._async.aftermath import Aftermath
from pgwerk._async.leases import Lease, worker_row
from pgwerk._async.sending import Sender
from pgwerk._async.sweeping import Sweeper
from pgwerk._core.claimed import Claimed
from pgwerk._core.inserts import Settled, Settlement
from pgwerk._core.serializers import JSONSerializer
from pgwerk._sql import Names, Statements
from pgwerk._sync.aftermath import Aftermath as BlockingAftermath
from pgwerk._sync.connections import Connections
from pgwerk._sync.managing import Management
from pgwerk._sync.sending import Sender as BlockingSender
from pgwerk._sync.sweeping import Sweeper as BlockingSweeper
from pgwerk.worker.claiming import Claimer
from pgwerk.worker.following import Follower
from pgwerk.worker.session import Session
from pgwerk.worker.settling import Settler

T = TypeVar("T")

SCHEMA = "life"
PATIENCE_SECS = 5
"""Whoever takes longer has got stuck."""
FOR_EVER = 1e9
"""Seconds between the heartbeats of a worker that is alive: only the machine lets time pass."""
CONFIG = WerkConfig(
    schema=SCHEMA,
    max_active_secs=MAX_ACTIVE_SECS,
    # The lease of workers that have no row. It must be over at once, also where the server has just been started.
    heartbeat_interval=0.01,
    default_retry_backoff=False,
)


class DiedError(Exception):
    """Whoever sent statements has died."""


class Watched(Statements):
    """The statements, of which so many can be sent until something happens.

    Attributes:
        left: How many; None for any number of them.
        event: What happens before the next one.
    """

    left: int | None = None
    event: Callable[[], object] | None = None

    def __getitem__(self, name: str) -> bytes:
        if self.left is not None:
            self.left -= 1
            if self.left < 0 and self.event is not None:
                self.left = None
                self.event()
        return super().__getitem__(name)


def die() -> None:
    """Whoever sends statements dies."""
    raise DiedError


@frozen
class Tables:
    """What the tables say at one moment.

    Attributes:
        jobs: The rows of the jobs, by id.
        executions: The rows of the attempts that have ended, in order.
        parents: For each job that depends on others, their ids, and whether they may fail.
        workers: The workers' last heartbeats, by id.
        violations: Which promises are broken, and by which jobs.
        decidable: The ids of the jobs that wait for nothing any more.
        now: The moment.
    """

    jobs: dict[str, dict[str, Any]]
    executions: list[dict[str, Any]]
    parents: dict[str, dict[str, bool]]
    workers: dict[str, datetime]
    violations: list[tuple[str, str]]
    decidable: set[str]
    now: datetime


class Bench:
    """One set of tables, and all that is needed to change what is in it.

    Args:
        dsn: Connection string of libpq.

    Attributes:
        app: A client.
        transaction: A connection of somebody whose transaction may stay open.
    """

    def __init__(self, dsn: str) -> None:
        # Everything happens in one thread: whoever waits for a lock here would wait for ever.
        dsn = make_conninfo(dsn, options=f"-c lock_timeout={PATIENCE_SECS}s")
        self.app = SyncWerk(dsn, config=CONFIG, pool_size=1)
        self.app.connect()
        names = Names(CONFIG.schema, CONFIG.prefix)
        self._placeholders = names.placeholders()
        self._own = psycopg.connect(dsn, autocommit=True, row_factory=dict_row)
        self.transaction = psycopg.connect(dsn)
        self._statements = Watched(names)
        self._connections = Connections(dsn, pool_size=1)
        self._runner = asyncio.Runner()
        self._session = Session(dsn, silence_secs=60)
        self._claimers: dict[str, Claimer] = {}
        self._read = [
            self._sql(f"SELECT {', '.join((*COLUMNS, *CONSTANTS))} FROM {{jobs}} ORDER BY id"),
            self._sql("SELECT * FROM {executions} ORDER BY job_id, attempt"),
            self._sql("SELECT child_id::text, parent_id::text, allow_failure FROM {dependencies}"),
            self._sql("SELECT id::text, heartbeat_at FROM {workers}"),
            self._sql(
                "\nUNION ALL\n".join(
                    f"SELECT '{promise}' AS promise, broken.id::text FROM ({query}) AS broken (id)"
                    for promise, query in INVARIANTS.items()
                )
            ),
            self._sql(f"SELECT broken.id::text FROM ({DECIDABLE}) AS broken (id)"),
            b"SELECT clock_timestamp() AS now",
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._session.close)
        self._runner.close()
        self._connections.close()
        self.transaction.close()
        self._own.close()
        self.app.disconnect()

    # The tables

    def empty(self) -> None:
        """Begin anew. Deleting a few rows is ten times faster than to truncate."""
        self.transaction.rollback()
        self._statements.left = None
        self._claimers.clear()
        for table in ("jobs", "executions", "dependencies", "workers"):
            self._own.execute(self._sql(f"DELETE FROM {{{table}}}"))

    def read(self) -> Tables:
        """Read everything."""
        with self._own.pipeline():
            cursors = [self._own.execute(query) for query in self._read]
        jobs, executions, dependencies, workers, violations, decidable, ((now),) = (
            cursor.fetchall() for cursor in cursors
        )
        parents: dict[str, dict[str, bool]] = {}
        for row in dependencies:
            parents.setdefault(row["child_id"], {})[row["parent_id"]] = row["allow_failure"]
        return Tables(
            jobs={str(row["id"]): {**row, "id": str(row["id"]), "worker_id": _text(row["worker_id"])} for row in jobs},
            executions=[
                {**row, "job_id": str(row["job_id"]), "worker_id": _text(row["worker_id"])} for row in executions
            ],
            parents=parents,
            workers={row["id"]: row["heartbeat_at"] for row in workers},
            violations=[(row["promise"], row["id"]) for row in violations],
            decidable={row["id"] for row in decidable},
            now=now["now"],
        )

    def let_pass(self, secs: float, job_ids: Sequence[str], worker_ids: Sequence[str] = ()) -> None:
        """Let so many seconds pass for jobs and workers."""
        for table, column, times, ids in (
            ("jobs", "id", TIMES, job_ids),
            ("executions", "job_id", ATTEMPT_TIMES, job_ids),
            ("workers", "id", ("heartbeat_at",), worker_ids),
        ):
            changes = ", ".join(f"{time} = {time} - %(time)s" for time in times)
            self._own.execute(
                self._sql(f"UPDATE {{{table}}} SET {changes} WHERE {column} = ANY (%(ids)s::uuid[])"),
                {"time": timedelta(seconds=secs), "ids": list(ids)},
            )

    def mark_as_awaited(self, job_id: str) -> None:
        """Somebody begins to wait for a job."""
        self._own.execute(self._statements["await_jobs"], {"ids": [job_id]})

    # Workers

    def beat(self, worker_id: str, queues: Sequence[str], running: Sequence[Claimed]) -> None:
        """A worker gives a sign of life, for itself and for what it believes to run."""
        lease = Lease(
            Sender(self._statements), worker_row(worker_id, "async", queues, 1, FOR_EVER, max_active_secs=FOR_EVER)
        )
        self._run(self._over(lambda connection: lease.extend(connection, running)))

    def lapse(self, worker_id: str) -> None:
        """The lease of a worker runs out."""
        self._own.execute(self._sql("UPDATE {workers} SET lease_secs = 0 WHERE id = %s"), [worker_id])

    def forget(self, worker_id: str) -> None:
        """The row of a worker is lost, as it may be in an unlogged table."""
        self._own.execute(self._sql("DELETE FROM {workers} WHERE id = %s"), [worker_id])

    def claim(self, worker_id: str, queues: Sequence[str], limit: int) -> list[Claimed]:
        """A worker claims jobs."""
        claimer = self._claimers.setdefault(worker_id, Claimer(self._statements, worker_id, queues))

        # Where a claim starts, depends on how much time has really passed, of which the model knows nothing.
        claimer._head.was_left(0, is_exhausted=True)

        async def claim() -> list[Claimed]:
            async with self._session.use() as connection:
                return await claimer.claim(connection, limit)

        return self._run(claim)

    def settle(self, settlements: Iterable[Settlement]) -> list[Settled]:
        """A worker settles attempts."""
        settled: list[Settled] = []

        async def settle() -> None:
            settler = Settler(self._session, self._statements, settled.extend)
            for each in settlements:
                settler.add(each)
            await _until(lambda: not len(settler), settler.run())

        self._run(settle)
        return settled

    def follow(self, settled: Iterable[Settled] = (), waiting: Iterable[str] = ()) -> None:
        """A worker sees to what follows.

        Args:
            settled: What was settled.
            waiting: Jobs that were inserted in a transaction, and wait for others.
        """

        async def follow() -> None:
            follower = Follower(self._session, self._session, self._aftermath(), lambda _: None)
            for each in settled:
                if each.is_over:
                    follower.add(each.job_id, removable=each.removable)
            follower.add_waiting(waiting)
            await _until(lambda: not len(follower), follower.run())

        self._run(follow)

    def rescue(self) -> list[Settled]:
        """A worker looks for orphans; returns what became of them."""
        return self._run(self._over(self._sweeper().rescue))

    def promote_due(self) -> int:
        """A worker looks for jobs that are due."""
        return self._run(self._over(self._sweeper().promote_due)).count

    # Clients that can be cut off

    def managing(self, method: str, *args: object) -> Callable[[], object]:
        """What a client does when it manages jobs."""
        management = Management(self._connections, BlockingSender(self._statements), self._blocking_aftermath())
        return lambda: getattr(management, method)(*args)

    def sweep(self) -> None:
        """A client sweeps."""
        sweeper = BlockingSweeper(
            BlockingSender(self._statements), self._blocking_aftermath(), CONFIG, JSONSerializer()
        )
        with self._connections.connection() as connection:
            sweeper.sweep(connection)

    def happens(self, left: int, event: Callable[[], object], act: Callable[[], object]) -> bool:
        """Something happens while something is done, by a part of a worker or by one of these clients.

        Args:
            left: How many statements are sent before it happens.
            event: What happens; after `die`, no statement is sent.
            act: What is done.

        Returns:
            Whether it has happened: it has not if there were no more statements to send.
        """
        self._statements.left, self._statements.event = left, event
        try:
            act()
        except DiedError:
            return True
        finally:
            has_happened, self._statements.left = self._statements.left is None, None
        return has_happened

    # Helpers

    def _sql(self, query: str) -> bytes:
        return query.format(**self._placeholders).encode()

    def _aftermath(self) -> Aftermath:
        return Aftermath(Sender(self._statements))

    def _blocking_aftermath(self) -> BlockingAftermath:
        return BlockingAftermath(BlockingSender(self._statements))

    def _sweeper(self) -> Sweeper:
        return Sweeper(Sender(self._statements), self._aftermath(), CONFIG, JSONSerializer())

    def _over(self, act: Callable[..., Coroutine[Any, Any, T]]) -> Callable[[], Coroutine[Any, Any, T]]:
        """Do something over the worker's connection."""

        async def over() -> T:
            async with self._session.use() as connection:
                return await act(connection)

        return over

    def _run(self, act: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return self._runner.run(asyncio.wait_for(act(), PATIENCE_SECS))


async def _until(condition: Callable[[], bool], chore: Coroutine[Any, Any, None]) -> None:
    """Let something run until a condition is met. What it raises before is raised."""
    task = asyncio.create_task(chore)
    try:
        while not (condition() or task.done()):
            await asyncio.sleep(0.0005)
        if task.done():
            await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
