"""Tables for each test, and what stands between a worker and its database: locks, proxies, other processes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Self

import psycopg
import pytest
import pytest_asyncio
from psycopg import conninfo
from tests.worker import jobs
from tests.worker.entry import WorkerProcess
from tests.worker.executing import Bench, executing

from pgwerk import AsyncWorker, BaseWorker, ForkWorker, ProcessWorker, Werk
from pgwerk._async.sending import Sender
from pgwerk._core.ids import new_id
from pgwerk._sql import Names, Statements
from pgwerk.worker.claiming import Claimer

# The first heartbeats are made at the start, and the next ones when a test is over.
DEFAULTS: dict[str, Any] = {"poll_interval": 0.2, "heartbeat_interval": 60, "shutdown_timeout": 1}

READY = b"Z\0\0\0\5I"
"""How the server says that it waits for a statement."""

_numbers = itertools.count(1)


@contextlib.asynccontextmanager
async def working(app: Werk, kind: type[BaseWorker] = AsyncWorker, **options: Any) -> AsyncIterator[BaseWorker]:
    """A worker that runs beside the test, and must stop without an error."""
    worker = kind(app, handle_signals=False, **{**DEFAULTS, **options})
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        await ended(worker, task)


async def ended(worker: BaseWorker, task: asyncio.Task[None]) -> None:
    """Wait for a worker that was told to stop. One that has to be told again is at fault."""
    done, _ = await asyncio.wait([task], timeout=10)
    if not done:
        worker.stop(now=True)
        await asyncio.wait([task], timeout=10)
        task.cancel()
        await asyncio.wait([task], timeout=10)
    # A task that has failed with nobody looking says so when it is collected: here, not in some other test.
    gc.collect()
    assert done, "the worker did not stop"
    await task


class Tables:
    """One set of tables, as the tests look at it.

    Args:
        dsn: Connection string of libpq.
        schema: The schema of the tables.

    Attributes:
        statements: pgwerk's own statements.
        sender: Sends them.
    """

    def __init__(self, dsn: str, schema: str) -> None:
        self.dsn = dsn
        self.schema = schema
        names = Names(schema, "_pgwerk")
        self.statements = Statements(names)
        self.sender = Sender(self.statements)
        self._placeholders = names.placeholders()
        self._stack = contextlib.AsyncExitStack()
        self._own: psycopg.AsyncConnection[Any] | None = None

    async def connect(self) -> psycopg.AsyncConnection[Any]:
        """One more connection, in autocommit mode; it waits 10 s for a lock, and is closed at the end of the test."""
        connection = await psycopg.AsyncConnection.connect(self.dsn, autocommit=True)
        await self._stack.enter_async_context(connection)
        await connection.execute("SET lock_timeout = '10s'")
        return connection

    async def forget(self) -> None:
        """Close the connections; the next statement opens a new one."""
        self._own = None
        await self._stack.aclose()

    def sql(self, query: str) -> bytes:
        """A statement with the names filled in: {jobs}, {executions}, {workers}, {schema}."""
        return query.format(**self._placeholders).encode()

    async def rows(self, query: str, *params: object) -> list[tuple[Any, ...]]:
        """What a statement returns."""
        if self._own is None:
            self._own = await self.connect()
        cursor = await self._own.execute(self.sql(query), params)
        return await cursor.fetchall() if cursor.description else []

    async def value(self, query: str, *params: object) -> Any:
        """The one value that a statement returns."""
        ((value,),) = await self.rows(query, *params)
        return value

    async def counts(self) -> dict[str, int]:
        """How many jobs there are in each status."""
        return dict(await self.rows("SELECT status, count(*) FROM {jobs} GROUP BY 1"))

    async def counts_are(self, **expected: int) -> bool:
        """Whether there are exactly so many jobs in each status."""
        return expected == await self.counts()

    def claimer(self, *queues: str, worker_id: str | None = None) -> Claimer:
        """What claims for a worker, without the worker."""
        return Claimer(self.statements, worker_id or new_id(), queues or ("default",))

    async def lapse(self, worker_id: str) -> None:
        """Let a worker's lease run out, be it a worker or just the name of one."""
        await self.rows(
            "INSERT INTO {workers} (id, kind, host, pid, queues, concurrency, version, started_at, heartbeat_at, "
            "lease_secs) VALUES (%s, 'async', 'here', 1, ARRAY['default'], 1, '', now(), now() - interval '1 h', 0.1) "
            "ON CONFLICT (id) DO UPDATE SET heartbeat_at = excluded.heartbeat_at, lease_secs = excluded.lease_secs",
            worker_id,
        )

    async def until(self, condition: Callable[[], Awaitable[object] | object], secs: float = 30) -> None:
        """Wait for something to come true."""
        deadline = time.monotonic() + secs
        while True:
            met = condition()
            if inspect.isawaitable(met):
                met = await met
            if met:
                return
            assert time.monotonic() < deadline, f"not true within {secs} s; jobs: {await self.counts()}"
            await asyncio.sleep(0.01)

    async def until_beat(self, worker_id: str) -> None:
        """Wait for the next heartbeat of a worker."""
        beat = "SELECT heartbeat_at FROM {workers} WHERE id = %s"
        before = await self.value(beat, worker_id)

        async def has_beaten() -> bool:
            return bool(before < await self.value(beat, worker_id))

        await self.until(has_beaten)

    async def until_blocked(self, sessions: int = 1) -> None:
        """Wait until so many sessions of the database wait for locks."""
        waiting = "datname = current_database() AND wait_event_type = 'Lock'"
        await self.until(lambda: self.value(f"SELECT count(*) >= %s FROM pg_stat_activity WHERE {waiting}", sessions))

    async def before_update(self, status: str, action: str) -> None:
        """Do something in the server before a job of priority 99 gets a status."""
        await self.rows(
            "CREATE FUNCTION {schema}.before_update() RETURNS trigger LANGUAGE plpgsql AS $$\n"
            f"BEGIN {action}; RETURN NEW; END $$"
        )
        await self.rows(
            "CREATE TRIGGER before_update BEFORE UPDATE ON {jobs} FOR EACH ROW "
            f"WHEN (NEW.status = '{status}' AND NEW.priority = 99) EXECUTE FUNCTION {{schema}}.before_update()"
        )

    @contextlib.asynccontextmanager
    async def held(self, status: str) -> AsyncIterator[Callable[[], Awaitable[object]]]:
        """Hold up the statement that gives this status to a job of priority 99; gives what lets it go on."""
        await self.before_update(status, "PERFORM pg_advisory_xact_lock_shared(4711, hashtext(TG_TABLE_SCHEMA))")
        holder = await self.connect()
        await holder.execute("SELECT pg_advisory_lock(4711, hashtext(%s))", [self.schema])

        async def release() -> None:
            await holder.execute("SELECT pg_advisory_unlock_all()")

        try:
            yield release
        finally:
            await release()


class Proxy:
    """Stands between a worker and the server, and is the network that fails.

    Attributes:
        deaf: Whether the server's answers are swallowed.
        mutes_after_login: Whether nothing comes through any more as soon as a session has begun.
    """

    def __init__(self, dsn: str) -> None:
        self._behind = dsn
        self._server: asyncio.Server | None = None
        self._port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._muted: set[asyncio.StreamWriter] = set()
        self._hides_ends = False
        self._closed = False
        self.deaf = False
        self.mutes_after_login = False

    @property
    def dsn(self) -> str:
        """The way through it."""
        return conninfo.make_conninfo(self._behind, host="127.0.0.1", port=self._port)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        while self._writers:
            await asyncio.sleep(0.001)

    def open(self) -> None:
        """Let connections through again."""
        self._closed = False

    def close(self) -> None:
        """Cut connections, and let none through."""
        self._closed = True
        self.cut()

    def mute(self, *, ends: bool = False) -> None:
        """Swallow what is sent over the connections that there are, and perhaps that they end, too; new ones work."""
        self._muted.update(self._writers)
        self._hides_ends = ends

    def cut(self) -> None:
        """Cut the connections. A session of the server notices when it next has to do with its client."""
        for writer in self._writers:
            writer.transport.abort()
        self.deaf = False

    async def _serve(self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        if self._closed:
            client_writer.transport.abort()
            return
        self._writers.add(client_writer)
        server_reader, server_writer = await self._connect()
        self._writers.add(server_writer)
        try:
            await asyncio.gather(
                self._pump(client_reader, server_writer, answers=False),
                self._pump(server_reader, client_writer, answers=True),
            )
        finally:
            for writer in (client_writer, server_writer):
                writer.transport.abort()
            self._writers -= {client_writer, server_writer}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if not (answers and self.deaf) and writer not in self._muted:
                    writer.write(data)
                    await writer.drain()
                if self.mutes_after_login and answers and data.endswith(READY):
                    self.mute()
        if not (self._hides_ends and writer in self._muted):
            writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = conninfo.conninfo_to_dict(self._behind)
        host, port = str(parts.get("host", "localhost")), parts.get("port", 5432)
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, int(str(port)))


@pytest.fixture
def schema() -> str:
    """A schema that no other test uses."""
    return f"worker{next(_numbers)}"


@pytest.fixture
async def app(dsn: str, schema: str) -> AsyncIterator[Werk]:
    """A client, with the tables in place."""
    async with Werk(dsn, schema=schema, pool_size=4) as app:
        yield app


@pytest.fixture
async def tables(app: Werk, dsn: str, schema: str) -> AsyncIterator[Tables]:
    """The tables of the client."""
    assert app.config.schema == schema
    tables = Tables(dsn, schema)
    yield tables
    await tables.forget()


@pytest.fixture
async def ledger(app: Werk, dsn: str) -> AsyncIterator[jobs.Ledger]:
    """Where handlers write down what they do, in this process and in others."""
    async with jobs.ledger(dsn, app.config.schema) as ledger:
        await ledger.create()
        yield ledger


@pytest.fixture
def gates() -> Iterator[Callable[..., asyncio.Event]]:
    """What `gated` jobs wait for."""
    jobs.forget_gates()
    yield jobs.gate
    jobs.forget_gates()


@pytest.fixture
async def proxy(dsn: str) -> AsyncIterator[Proxy]:
    """A way to the database that can be cut."""
    async with Proxy(dsn) as proxy:
        yield proxy


@pytest.fixture
def start_worker(dsn: str, schema: str, tmp_path: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """Start worker processes; none of them outlives the test."""
    started: list[WorkerProcess] = []

    def start(database: str = dsn, **options: Any) -> WorkerProcess:
        started.append(WorkerProcess(database, schema, tmp_path, **options))
        return started[-1]

    yield start
    for process in started:
        if process.exit_code is None:
            process.kill()


# A nursery takes half a second to start, so the tests of a module share one of each kind.


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[Bench]:
    """The executor of a `ProcessWorker`."""
    async with executing(ProcessWorker, sigterm_grace=1) as bench:
        yield bench


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def forks() -> AsyncIterator[Bench]:
    """The executor of a `ForkWorker`."""
    async with executing(ForkWorker, sigterm_grace=1) as bench:
        yield bench


@pytest.fixture(params=["pool", "forks"])
def either(request: pytest.FixtureRequest, pool: Bench, forks: Bench) -> Bench:
    """The executor of each kind."""
    return {"pool": pool, "forks": forks}[request.param]
