"""Migrations: bring the tables of a database to the version that this release works with.

All pending migrations run in one transaction, under an advisory lock that belongs to the transaction (a lock of the
session would not survive a pooler), so of several processes that start at once one migrates and the others find it
done. Locks on tables are waited for only briefly, and the whole is tried again: a migration that queues behind a long
transaction would make everybody else queue behind itself.
"""

from __future__ import annotations

import logging
import time

import psycopg

from pgwerk._async import _compat
from pgwerk._async.connections import Connection, WerkCursor
from pgwerk._core.config import WerkConfig
from pgwerk._core.errors import SchemaVersionMismatch, WerkError
from pgwerk._core.insights import MigrationStatus
from pgwerk._sql import MIGRATIONS, Names, Statements
from pgwerk._sql.migrations import script, steps

logger = logging.getLogger("pgwerk.migrations")

PATIENCE_SECS = 60.0
PAUSE_SECS = 0.2

LATEST = MIGRATIONS[-1].version


class Migrator:
    """The migrations of one set of tables."""

    def __init__(self, names: Names, statements: Statements, config: WerkConfig) -> None:
        self._names = names
        self._statements = statements
        self._config = config

    async def prepare(self, connection: Connection, *, migrate: bool) -> tuple[str, ...]:
        """See to it that the tables are those that this release works with.

        Args:
            connection: A connection of our own.
            migrate: Whether pending migrations may be run.

        Returns:
            The names of the migrations that were run.

        Raises:
            SchemaVersionMismatch: The tables are newer, or older and `migrate` is false.
            WerkError: The tables were made with another `ephemeral_tables`, or the server reads arrays in its old way.
        """
        version = await self.version(connection)
        applied: tuple[str, ...] = ()
        if version < LATEST and migrate:
            version, applied = await self._migrate_patiently(connection)
        self._check_version(version)
        await self._check_settings(connection)
        return applied

    async def version(self, connection: Connection) -> int:
        """The version of the tables; 0 when there are none."""
        where = {"schema": self._names.schema, "table": f"{self._names.prefix}_migrations"}
        cursor = await WerkCursor(connection).execute(self._statements["has_tables"], where)
        row = await cursor.fetchone()
        if row is None or not row[0]:
            return 0
        await cursor.execute(self._statements["get_version"])
        row = await cursor.fetchone()
        return 0 if row is None else int(row[0])

    async def status(self, connection: Connection) -> MigrationStatus:
        """What the tables are, and what they are to be."""
        version = await self.version(connection)
        pending = tuple(migration.name for migration in MIGRATIONS if migration.version > version)
        return MigrationStatus(version, LATEST, pending)

    async def script(self, connection: Connection) -> str:
        """The statements that `prepare` would send now to migrate; empty when there are none.

        Raises:
            SchemaVersionMismatch: The tables are newer.
        """
        version = await self.version(connection)
        if version > LATEST:
            self._check_version(version)
        return script(self._statements, version, ephemeral_tables=self._config.ephemeral_tables)

    async def _migrate_patiently(self, connection: Connection) -> tuple[int, tuple[str, ...]]:
        deadline = time.monotonic() + PATIENCE_SECS
        while True:
            try:
                return await self._migrate(connection)
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
                if time.monotonic() >= deadline:
                    raise
                logger.info("a migration waits for somebody's transaction to end")
            await _compat.sleep(PAUSE_SECS)

    async def _migrate(self, connection: Connection) -> tuple[int, tuple[str, ...]]:
        """The version that the tables have then, and what led there; nothing if somebody else was first."""
        applied: list[str] = []
        async with connection.transaction():
            cursor = WerkCursor(connection)
            await cursor.execute(self._statements["lock_migrations"])
            version = await self.version(connection)
            for step in steps(self._statements, version, ephemeral_tables=self._config.ephemeral_tables):
                await cursor.execute(step.sql)
                if step.completes is not None:
                    applied.append(step.completes)
        for name in applied:
            logger.info("applied migration %s", name)
        return max(version, LATEST), tuple(applied)

    def _check_version(self, version: int) -> None:
        if version < LATEST:
            raise SchemaVersionMismatch(
                version,
                LATEST,
                "call connect() once, with auto_migrate=True and outside of any transaction, for instance when the "
                "program starts; or run `werk migrate`",
            )
        if version > LATEST:
            raise SchemaVersionMismatch(version, LATEST, "install the release of pgwerk that migrated the database")

    async def _check_settings(self, connection: Connection) -> None:
        cursor = await WerkCursor(connection).execute(self._statements["get_settings"])
        row = await cursor.fetchone()
        if row is not None and not row[1]:
            raise WerkError(
                "array_nulls is off for this role, database or connection string, so that NULL in an array would be "
                "read as the text 'NULL': turn it on"
            )
        if row is not None and row[0] != self._config.ephemeral_tables:
            raise WerkError(
                f"ephemeral_tables={self._config.ephemeral_tables} was asked for, and the tables in schema "
                f"{self._names.schema!r} were created with ephemeral_tables={row[0]}, which is fixed then: change the "
                f"configuration, or use another schema or prefix"
            )
