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

    async def prepare(self, connection: Connection, *, migrate: bool) -> None:
        """See to it that the tables are those that this release works with.

        Args:
            connection: A connection of our own.
            migrate: Whether pending migrations may be run.

        Raises:
            SchemaVersionMismatch: The tables are newer, or older and `migrate` is false.
            WerkError: The tables were made with another `ephemeral_tables`, or the server reads arrays in its old way.
        """
        version = await self.version(connection)
        if version < LATEST and migrate:
            version = await self._migrate_patiently(connection)
        self._check_version(version)
        await self._check_settings(connection)

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

    async def _migrate_patiently(self, connection: Connection) -> int:
        deadline = time.monotonic() + PATIENCE_SECS
        while True:
            try:
                return await self._migrate(connection)
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
                if time.monotonic() >= deadline:
                    raise
                logger.info("a migration waits for somebody's transaction to end")
            await _compat.sleep(PAUSE_SECS)

    async def _migrate(self, connection: Connection) -> int:
        async with connection.transaction():
            cursor = WerkCursor(connection)
            await cursor.execute(self._statements["lock_migrations"])
            version = await self.version(connection)
            if version == 0:
                await cursor.execute(self._statements["create_migrations"])
            for migration in MIGRATIONS:
                if migration.version <= version:
                    continue
                await cursor.execute(migration.sql(self._names, ephemeral_tables=self._config.ephemeral_tables))
                await cursor.execute(
                    self._statements["record_migration"],
                    {
                        "version": migration.version,
                        "name": migration.name,
                        "ephemeral_tables": self._config.ephemeral_tables,
                    },
                )
                logger.info("applied migration %s", migration.name)
            return max(version, LATEST)

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
