"""Diagnosing: read facts, one after the other, and have each of them judged.

What is judged how is in `_core/diagnosis`. Each fact is read in a transaction of its own that gives up instead of
waiting, so that what cannot be read, because a right is missing or a table is, does not hide the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import psycopg

from pgwerk._async import _compat
from pgwerk._async.connections import Connection
from pgwerk._async.inspecting import Inspector
from pgwerk._core.diagnosis import server, tables, work
from pgwerk._core.diagnosis.wording import HOUR, unseen
from pgwerk._core.insights import Finding
from pgwerk._core.version import pgwerk_version
from pgwerk._sql.names import INDEXES, TABLES

Look: TypeAlias = Callable[[Connection], _compat.Eventually[Sequence[Finding]]]


class Diagnosis:
    """Finds out what is wrong or slow about one set of tables."""

    def __init__(self, inspector: Inspector) -> None:
        self._inspector = inspector
        self._sender = inspector.sender
        self._names = inspector.names
        self._config = inspector.config

    async def run(self) -> list[Finding]:
        """Look at everything."""
        try:
            connection, connect_secs = await self._inspector.open()
        except psycopg.OperationalError as error:
            return [server.unreachable(_reason(error))]
        findings: list[Finding] = []
        try:
            await self._look_at_all(connection, connect_secs, findings)
        except psycopg.Error as error:
            # What each look makes of errors is its own affair: this one has ended the connection.
            findings.append(server.unreachable(_reason(error)))
        finally:
            await connection.close()
        return findings

    async def _look_at_all(self, connection: Connection, connect_secs: float, findings: list[Finding]) -> None:
        way = await self._inspector.find_way(connection, connect_secs)
        connections = self._inspector.connections
        findings += [
            server.judge_connection(connections.where or "the server", way.connect_secs, way.round_trip_secs),
            server.judge_pooler(
                connections.pooler,
                found=way.is_pooled,
                listen_dsn=connections.listen_dsn is not None,
                can_listen=way.can_listen,
                poll_interval=self._config.poll_interval,
            ),
            server.judge_clock(way.clock_ahead_secs, way.round_trip_secs),
        ]
        findings += await self._look("server", self._server, connection)
        schema = await self._look("schema", self._schema, connection)
        findings += schema
        if schema != [tables.no_tables(self._names.schema)]:
            for check, look in self._looks():
                findings += await self._look(check, look, connection)

    def _looks(self) -> tuple[tuple[str, Look], ...]:
        """What is looked at where there are tables, in this order."""
        return (
            ("indexes", self._indexes),
            ("vacuum", self._tables),
            ("snapshots", self._snapshots),
            ("idle transactions", self._idle),
            ("workers", self._workers),
            ("queues", self._queues),
            ("orphans", self._orphans),
            ("waiting", self._stranded),
            ("scheduled", self._overdue),
            ("callbacks", self._callbacks),
            ("schedules", self._schedules),
        )

    async def _look(self, check: str, look: Look, connection: Connection) -> Sequence[Finding]:
        try:
            async with connection.transaction():
                await self._sender.rows(connection, "limit_inspection")
                return await look(connection)
        except psycopg.Error as error:
            if connection.closed:
                raise
            return [unseen(check, _reason(error))]

    # The looks

    async def _server(self, connection: Connection) -> Sequence[Finding]:
        return server.judge_server(await self._inspector.server(connection))

    async def _schema(self, connection: Connection) -> Sequence[Finding]:
        status = await self._inspector.migrator.status(connection)
        if not status.version:
            return [tables.no_tables(self._names.schema)]
        return [tables.judge_schema(status, self._names.schema)]

    async def _indexes(self, connection: Connection) -> Sequence[Finding]:
        prefix = self._names.prefix
        expected = [f"{prefix}_{name}" for name in INDEXES] + [f"{prefix}_{name}_pkey" for name in TABLES]
        rows = await self._sender.rows(connection, "describe_indexes", **self._inspector.named())
        return tables.judge_indexes(expected, dict(rows))

    async def _tables(self, connection: Connection) -> Sequence[Finding]:
        facts = await self._inspector.server(connection)
        return tables.judge_tables(
            await self._inspector.tables(connection),
            prefix=self._names.prefix,
            autovacuum=facts.autovacuum,
            freeze_max_age=facts.freeze_max_age,
        )

    async def _snapshots(self, connection: Connection) -> Sequence[Finding]:
        facts = await self._inspector.server(connection)
        rows = await self._sender.rows(connection, "find_snapshots")
        return tables.judge_snapshots([tables.Holder(*row) for row in rows], sees_all=facts.sees_all)

    async def _idle(self, connection: Connection) -> Sequence[Finding]:
        facts = await self._inspector.server(connection)
        rows = await self._sender.rows(connection, "find_idle_holders", **self._inspector.named())
        return tables.judge_idle(rows, sees_all=facts.sees_all)

    async def _workers(self, connection: Connection) -> Sequence[Finding]:
        return work.judge_workers(await self._inspector.workers_over(connection), pgwerk_version())

    async def _queues(self, connection: Connection) -> Sequence[Finding]:
        workers = await self._inspector.workers_over(connection)
        queues = await self._inspector.queues_over(connection, HOUR, 1, workers)
        return work.judge_queues(queues, self._config.lease_secs)

    async def _orphans(self, connection: Connection) -> Sequence[Finding]:
        lease_secs = self._config.lease_secs
        count, secs = await self._one(connection, "count_orphans", lease_secs=lease_secs)
        return [work.judge_orphans(count, secs, lease_secs)]

    async def _stranded(self, connection: Connection) -> Sequence[Finding]:
        # Whoever ended the last parent sees to the child, and a sweep does where he did not: two of them must have.
        secs = 2 * self._config.sweep_interval
        count, is_bounded = await self._one(connection, "count_stranded", secs=secs, limit=work.LOOKED_AT)
        return [work.judge_stranded(count, is_bounded=is_bounded)]

    async def _overdue(self, connection: Connection) -> Sequence[Finding]:
        secs = self._config.sweep_interval
        count, longest = await self._one(connection, "count_overdue", secs=secs, limit=work.LOOKED_AT)
        workers = await self._inspector.workers_over(connection)
        return [work.judge_overdue(count, longest, any_alive=any(worker.is_alive for worker in workers))]

    async def _callbacks(self, connection: Connection) -> Sequence[Finding]:
        # Workers look for them at every poll, and again when they sweep.
        secs = self._config.sweep_interval
        count, longest = await self._one(connection, "count_owing", secs=secs, limit=work.LOOKED_AT)
        return [work.judge_callbacks(count, longest)]

    async def _schedules(self, connection: Connection) -> Sequence[Finding]:
        rows = await self._sender.rows(connection, "list_schedules", names=None)
        # The first column is the name, and the last one tells whether it is overdue.
        return [work.judge_schedules([row[0] for row in rows], [row[0] for row in rows if row[-1]])]

    async def _one(self, connection: Connection, name: str, **params: Any) -> tuple[Any, ...]:
        """The one row of a statement."""
        rows = await self._sender.rows(connection, name, **params)
        return rows[0]


def _reason(error: psycopg.Error) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
