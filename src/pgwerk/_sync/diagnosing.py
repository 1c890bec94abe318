# Generated from src/pgwerk/_async/diagnosing.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""Diagnosing: read facts, one after the other, and have each of them judged.

What is judged how is in `_core/diagnosis`. Each fact is read in a transaction of its own that gives up instead of
waiting, so that what cannot be read, because a right is missing or a table is, does not hide the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import psycopg

from pgwerk._core.diagnosis import server, tables, work
from pgwerk._core.diagnosis.wording import HOUR, unseen
from pgwerk._core.insights import Finding
from pgwerk._core.version import pgwerk_version
from pgwerk._sql.names import INDEXES, TABLES
from pgwerk._sync import _compat
from pgwerk._sync.connections import Connection
from pgwerk._sync.inspecting import Inspector

Look: TypeAlias = Callable[[Connection], _compat.Eventually[Sequence[Finding]]]


class Diagnosis:
    """Finds out what is wrong or slow about one set of tables."""

    def __init__(self, inspector: Inspector) -> None:
        self._inspector = inspector
        self._sender = inspector.sender
        self._names = inspector.names
        self._config = inspector.config

    def run(self) -> list[Finding]:
        """Look at everything."""
        try:
            connection, connect_secs = self._inspector.open()
        except psycopg.OperationalError as error:
            return [server.unreachable(_reason(error))]
        findings: list[Finding] = []
        try:
            self._look_at_all(connection, connect_secs, findings)
        except psycopg.Error as error:
            # What each look makes of errors is its own affair: this one has ended the connection.
            findings.append(server.unreachable(_reason(error)))
        finally:
            connection.close()
        return findings

    def _look_at_all(self, connection: Connection, connect_secs: float, findings: list[Finding]) -> None:
        way = self._inspector.find_way(connection, connect_secs)
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
        findings += self._look("server", self._server, connection)
        schema = self._look("schema", self._schema, connection)
        findings += schema
        if schema != [tables.no_tables(self._names.schema)]:
            for check, look in self._looks():
                findings += self._look(check, look, connection)

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

    def _look(self, check: str, look: Look, connection: Connection) -> Sequence[Finding]:
        try:
            with connection.transaction():
                self._sender.rows(connection, "limit_inspection")
                return look(connection)
        except psycopg.Error as error:
            if connection.closed:
                raise
            return [unseen(check, _reason(error))]

    # The looks

    def _server(self, connection: Connection) -> Sequence[Finding]:
        return server.judge_server(self._inspector.server(connection))

    def _schema(self, connection: Connection) -> Sequence[Finding]:
        status = self._inspector.migrator.status(connection)
        if not status.version:
            return [tables.no_tables(self._names.schema)]
        return [tables.judge_schema(status, self._names.schema)]

    def _indexes(self, connection: Connection) -> Sequence[Finding]:
        prefix = self._names.prefix
        expected = [f"{prefix}_{name}" for name in INDEXES] + [f"{prefix}_{name}_pkey" for name in TABLES]
        rows = self._sender.rows(connection, "describe_indexes", **self._inspector.named())
        return tables.judge_indexes(expected, dict(rows))

    def _tables(self, connection: Connection) -> Sequence[Finding]:
        facts = self._inspector.server(connection)
        return tables.judge_tables(
            self._inspector.tables(connection),
            prefix=self._names.prefix,
            autovacuum=facts.autovacuum,
            freeze_max_age=facts.freeze_max_age,
        )

    def _snapshots(self, connection: Connection) -> Sequence[Finding]:
        facts = self._inspector.server(connection)
        rows = self._sender.rows(connection, "find_snapshots")
        return tables.judge_snapshots([tables.Holder(*row) for row in rows], sees_all=facts.sees_all)

    def _idle(self, connection: Connection) -> Sequence[Finding]:
        facts = self._inspector.server(connection)
        rows = self._sender.rows(connection, "find_idle_holders", **self._inspector.named())
        return tables.judge_idle(rows, sees_all=facts.sees_all)

    def _workers(self, connection: Connection) -> Sequence[Finding]:
        return work.judge_workers(self._inspector.workers_over(connection), pgwerk_version())

    def _queues(self, connection: Connection) -> Sequence[Finding]:
        workers = self._inspector.workers_over(connection)
        queues = self._inspector.queues_over(connection, HOUR, 1, workers)
        return work.judge_queues(queues, self._config.lease_secs)

    def _orphans(self, connection: Connection) -> Sequence[Finding]:
        lease_secs = self._config.lease_secs
        count, secs = self._one(connection, "count_orphans", lease_secs=lease_secs)
        return [work.judge_orphans(count, secs, lease_secs)]

    def _stranded(self, connection: Connection) -> Sequence[Finding]:
        # Whoever ended the last parent sees to the child, and a sweep does where he did not: two of them must have.
        secs = 2 * self._config.sweep_interval
        count, is_bounded = self._one(connection, "count_stranded", secs=secs, limit=work.LOOKED_AT)
        return [work.judge_stranded(count, is_bounded=is_bounded)]

    def _overdue(self, connection: Connection) -> Sequence[Finding]:
        secs = self._config.sweep_interval
        count, longest = self._one(connection, "count_overdue", secs=secs, limit=work.LOOKED_AT)
        workers = self._inspector.workers_over(connection)
        return [work.judge_overdue(count, longest, any_alive=any(worker.is_alive for worker in workers))]

    def _callbacks(self, connection: Connection) -> Sequence[Finding]:
        # Workers look for them at every poll, and again when they sweep.
        secs = self._config.sweep_interval
        count, longest = self._one(connection, "count_owing", secs=secs, limit=work.LOOKED_AT)
        return [work.judge_callbacks(count, longest)]

    def _schedules(self, connection: Connection) -> Sequence[Finding]:
        rows = self._sender.rows(connection, "list_schedules", names=None)
        # The first column is the name, and the last one tells whether it is overdue.
        return [work.judge_schedules([row[0] for row in rows], [row[0] for row in rows if row[-1]])]

    def _one(self, connection: Connection, name: str, **params: Any) -> tuple[Any, ...]:
        """The one row of a statement."""
        rows = self._sender.rows(connection, name, **params)
        return rows[0]


def _reason(error: psycopg.Error) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
