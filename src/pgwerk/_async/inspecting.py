"""Looking at a set of tables as a whole: workers, queues, what runs, and the server that all this is on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from importlib import metadata
from typing import Any, NamedTuple

import psycopg
from psycopg import pq

from pgwerk._async.connections import Connection, Connections, WerkCursor, open_connection, unless_given
from pgwerk._async.listening import listen
from pgwerk._async.migrating import Migrator
from pgwerk._async.poolers import behind_pooler
from pgwerk._async.sending import Sender
from pgwerk._core import checks
from pgwerk._core.config import WerkConfig
from pgwerk._core.diagnosis.server import Server, server
from pgwerk._core.insights import Overview, QueueStats, RunningJob, ServerInfo, TableInfo, WorkerInfo, combine_stats
from pgwerk._core.version import pgwerk_version
from pgwerk._sql import Names
from pgwerk._sql.names import TABLES

ROUND_TRIPS = 5
CONNECT_SECS = 10
MOST_SLICES = 1000


class Way(NamedTuple):
    """The way to the database, as it was found.

    Attributes:
        connect_secs: Seconds that it took to connect.
        round_trip_secs: Seconds that an answer took at best.
        clock_ahead_secs: Seconds by which the clock of the database is ahead of this machine's.
        is_pooled: Whether a pooler answers.
        can_listen: Whether a notification arrived; it is not tried behind a pooler.
    """

    connect_secs: float
    round_trip_secs: float
    clock_ahead_secs: float
    is_pooled: bool
    can_listen: bool


class Inspector:
    """Looks at one set of tables. Nothing here writes, or waits for anybody."""

    def __init__(
        self, connections: Connections, sender: Sender, migrator: Migrator, names: Names, config: WerkConfig
    ) -> None:
        self.connections = connections
        self.sender = sender
        self.migrator = migrator
        self.names = names
        self.config = config

    # What needs the tables

    async def workers(self) -> list[WorkerInfo]:
        """The workers that have a row."""
        async with self.connections.connection() as connection:
            return await self.workers_over(connection)

    async def running(self, limit: int) -> list[RunningJob]:
        """The jobs that run, the one that has run longest first."""
        limit = checks.whole("limit", limit)
        async with self.connections.connection() as connection:
            return await self._running_over(connection, limit)

    async def queues(self, since: float | timedelta, slices: int) -> list[QueueStats]:
        """What is in the queues, and what came out of them lately."""
        secs, slices = _check_span(since, slices)
        async with self.connections.connection() as connection:
            workers = await self.workers_over(connection)
            return await self.queues_over(connection, secs, slices, workers)

    async def overview(self, since: float | timedelta, slices: int, limit: int) -> Overview:
        """All of these, over one connection."""
        secs, slices = _check_span(since, slices)
        limit = checks.whole("limit", limit)
        async with self.connections.connection() as connection:
            workers = await self.workers_over(connection)
            queues = await self.queues_over(connection, secs, slices, workers)
            running = await self._running_over(connection, limit)
        return Overview(tuple(queues), tuple(workers), tuple(running))

    async def workers_over(self, connection: Connection) -> list[WorkerInfo]:
        """The workers, read over this connection."""
        return [WorkerInfo.from_row(row) for row in await self.sender.rows(connection, "list_workers")]

    async def queues_over(
        self, connection: Connection, secs: float, slices: int, workers: Sequence[WorkerInfo]
    ) -> list[QueueStats]:
        """The queues, read over this connection, with the workers that are known."""
        depths = await self.sender.rows(connection, "queue_depths")
        history = await self.sender.rows(connection, "queue_history", secs=secs, slices=slices)
        return combine_stats(depths, history, workers, since_secs=secs, slices=slices)

    async def _running_over(self, connection: Connection, limit: int) -> list[RunningJob]:
        return [RunningJob.from_row(row) for row in await self.sender.rows(connection, "list_running", limit=limit)]

    # What does not

    async def info(self) -> ServerInfo:
        """The server, the tables and the way to them."""
        connection, connect_secs = await self.open()
        try:
            way = await self.find_way(connection, connect_secs)
            async with connection.transaction():
                await self.sender.rows(connection, "limit_inspection")
                found = await self.server(connection)
                status = await self.migrator.status(connection)
                settings = await self.sender.first(connection, "get_settings") if status.version else None
                tables = await self.tables(connection)
        finally:
            await connection.close()
        return ServerInfo(
            server_version=found.version,
            server_started_at=found.started_at,
            is_standby=found.is_standby,
            database=found.database,
            user=found.user,
            schema=self.names.schema,
            prefix=self.names.prefix,
            schema_version=status.version,
            latest_version=status.latest,
            ephemeral_tables=None if settings is None else settings[0],
            tables=tuple(tables),
            pooler=self.connections.pooler,
            pooler_found=way.is_pooled,
            listen_dsn=self.connections.listen_dsn is not None,
            can_listen=way.can_listen,
            connect_secs=way.connect_secs,
            round_trip_secs=way.round_trip_secs,
            clock_ahead_secs=way.clock_ahead_secs,
            pgwerk_version=pgwerk_version(),
            psycopg_version=metadata.version("psycopg"),
            libpq_version=_dotted(pq.version()),
        )

    async def open(self) -> tuple[Connection, float]:
        """A connection of our own, which the caller closes, and how many seconds it took to get it."""
        dsn = self.connections.dsn
        began = time.monotonic()
        connection = await open_connection(dsn, **unless_given(dsn, {"connect_timeout": CONNECT_SECS}))
        return connection, time.monotonic() - began

    async def find_way(self, connection: Connection, connect_secs: float) -> Way:
        """Measure the way to the database, and try whether notifications come back on it."""
        best, ahead = await self._compare_clocks(connection)
        is_pooled = await behind_pooler(connection)
        return Way(connect_secs, best, ahead, is_pooled, await self._can_listen(connection, is_pooled=is_pooled))

    async def server(self, connection: Connection) -> Server:
        """The server and its settings."""
        rows = await self.sender.rows(connection, "describe_server")
        return server(rows[0])

    async def tables(self, connection: Connection) -> list[TableInfo]:
        """The tables that are there."""
        rows = await self.sender.rows(connection, "describe_tables", **self.named())
        return [TableInfo.from_row(row) for row in rows]

    def named(self) -> dict[str, Any]:
        """What the catalogues know the tables as."""
        return {"schema": self.names.schema, "tables": [f"{self.names.prefix}_{name}" for name in TABLES]}

    async def _compare_clocks(self, connection: Connection) -> tuple[float, float]:
        """The best of a few round trips, and the difference of the clocks as the best one showed it."""
        samples = []
        for _ in range(ROUND_TRIPS):
            sent, began = time.time(), time.monotonic()
            rows: Sequence[tuple[Any, ...]] = await self.sender.rows(connection, "read_clock")
            took = time.monotonic() - began
            samples.append((took, rows[0][0].timestamp() - (sent + took / 2)))
        return min(samples)

    async def _can_listen(self, connection: Connection, *, is_pooled: bool) -> bool:
        """Whether a notification arrives that is sent to try it out.

        Not tried through a pooler: LISTEN would stay behind in a session that others use.
        """
        has_way_round = self.connections.listen_dsn is not None
        if not has_way_round and (is_pooled or self.connections.pooler is True):
            return False

        async def send(command: bytes) -> None:
            await WerkCursor(connection).execute(command)

        try:
            listening = await self.connections.open_to_listen()
        except psycopg.OperationalError:
            return False
        try:
            if await behind_pooler(listening):
                return False
            return await listen(listening, self.names.done_channel, send)
        except psycopg.Error:
            return False
        finally:
            await listening.close()


def _check_span(since: float | timedelta, slices: int) -> tuple[float, int]:
    """How many seconds to look back, and in how many parts.

    Raises:
        TypeError, ValueError: It is no positive span of time, or there are too many parts.
    """
    return (
        checks.seconds("since", since, exclusive=True),
        checks.whole("slices", slices, minimum=1, maximum=MOST_SLICES),
    )


def _dotted(version: int) -> str:
    """The version that a number of libpq stands for: 170004 is 17.4."""
    return f"{version // 10000}.{version % 10000}"
