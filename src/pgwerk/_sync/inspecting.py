# Generated from src/pgwerk/_async/inspecting.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""Looking at a set of tables as a whole: workers, queues, what runs, and the server that all this is on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from importlib import metadata
from typing import Any, NamedTuple

import psycopg
from psycopg import pq

from pgwerk._core import checks
from pgwerk._core.config import WerkConfig
from pgwerk._core.diagnosis.server import Server, server
from pgwerk._core.insights import Overview, QueueStats, RunningJob, ServerInfo, TableInfo, WorkerInfo, combine_stats
from pgwerk._core.version import pgwerk_version
from pgwerk._sql import Names
from pgwerk._sql.names import TABLES
from pgwerk._sync.connections import Connection, Connections, WerkCursor, open_connection, unless_given
from pgwerk._sync.listening import listen
from pgwerk._sync.migrating import Migrator
from pgwerk._sync.poolers import behind_pooler
from pgwerk._sync.sending import Sender

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

    def workers(self) -> list[WorkerInfo]:
        """The workers that have a row."""
        with self.connections.connection() as connection:
            return self.workers_over(connection)

    def running(self, limit: int) -> list[RunningJob]:
        """The jobs that run, the one that has run longest first."""
        limit = checks.whole("limit", limit)
        with self.connections.connection() as connection:
            return self._running_over(connection, limit)

    def queues(self, since: float | timedelta, slices: int) -> list[QueueStats]:
        """What is in the queues, and what came out of them lately."""
        secs, slices = _check_span(since, slices)
        with self.connections.connection() as connection:
            workers = self.workers_over(connection)
            return self.queues_over(connection, secs, slices, workers)

    def overview(self, since: float | timedelta, slices: int, limit: int) -> Overview:
        """All of these, over one connection."""
        secs, slices = _check_span(since, slices)
        limit = checks.whole("limit", limit)
        with self.connections.connection() as connection:
            workers = self.workers_over(connection)
            queues = self.queues_over(connection, secs, slices, workers)
            running = self._running_over(connection, limit)
        return Overview(tuple(queues), tuple(workers), tuple(running))

    def workers_over(self, connection: Connection) -> list[WorkerInfo]:
        """The workers, read over this connection."""
        return [WorkerInfo.from_row(row) for row in self.sender.rows(connection, "list_workers")]

    def queues_over(
        self, connection: Connection, secs: float, slices: int, workers: Sequence[WorkerInfo]
    ) -> list[QueueStats]:
        """The queues, read over this connection, with the workers that are known."""
        depths = self.sender.rows(connection, "queue_depths")
        history = self.sender.rows(connection, "queue_history", secs=secs, slices=slices)
        return combine_stats(depths, history, workers, since_secs=secs, slices=slices)

    def _running_over(self, connection: Connection, limit: int) -> list[RunningJob]:
        return [RunningJob.from_row(row) for row in self.sender.rows(connection, "list_running", limit=limit)]

    # What does not

    def info(self) -> ServerInfo:
        """The server, the tables and the way to them."""
        connection, connect_secs = self.open()
        try:
            way = self.find_way(connection, connect_secs)
            with connection.transaction():
                self.sender.rows(connection, "limit_inspection")
                found = self.server(connection)
                status = self.migrator.status(connection)
                settings = self.sender.first(connection, "get_settings") if status.version else None
                tables = self.tables(connection)
        finally:
            connection.close()
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

    def open(self) -> tuple[Connection, float]:
        """A connection of our own, which the caller closes, and how many seconds it took to get it."""
        dsn = self.connections.dsn
        began = time.monotonic()
        connection = open_connection(dsn, **unless_given(dsn, {"connect_timeout": CONNECT_SECS}))
        return connection, time.monotonic() - began

    def find_way(self, connection: Connection, connect_secs: float) -> Way:
        """Measure the way to the database, and try whether notifications come back on it."""
        best, ahead = self._compare_clocks(connection)
        is_pooled = behind_pooler(connection)
        return Way(connect_secs, best, ahead, is_pooled, self._can_listen(connection, is_pooled=is_pooled))

    def server(self, connection: Connection) -> Server:
        """The server and its settings."""
        rows = self.sender.rows(connection, "describe_server")
        return server(rows[0])

    def tables(self, connection: Connection) -> list[TableInfo]:
        """The tables that are there."""
        rows = self.sender.rows(connection, "describe_tables", **self.named())
        return [TableInfo.from_row(row) for row in rows]

    def named(self) -> dict[str, Any]:
        """What the catalogues know the tables as."""
        return {"schema": self.names.schema, "tables": [f"{self.names.prefix}_{name}" for name in TABLES]}

    def _compare_clocks(self, connection: Connection) -> tuple[float, float]:
        """The best of a few round trips, and the difference of the clocks as the best one showed it."""
        samples = []
        for _ in range(ROUND_TRIPS):
            sent, began = time.time(), time.monotonic()
            rows: Sequence[tuple[Any, ...]] = self.sender.rows(connection, "read_clock")
            took = time.monotonic() - began
            samples.append((took, rows[0][0].timestamp() - (sent + took / 2)))
        return min(samples)

    def _can_listen(self, connection: Connection, *, is_pooled: bool) -> bool:
        """Whether a notification arrives that is sent to try it out.

        Not tried through a pooler: LISTEN would stay behind in a session that others use.
        """
        has_way_round = self.connections.listen_dsn is not None
        if not has_way_round and (is_pooled or self.connections.pooler is True):
            return False

        def send(command: bytes) -> None:
            WerkCursor(connection).execute(command)

        try:
            listening = self.connections.open_to_listen()
        except psycopg.OperationalError:
            return False
        try:
            if behind_pooler(listening):
                return False
            return listen(listening, self.names.done_channel, send)
        except psycopg.Error:
            return False
        finally:
            listening.close()


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
