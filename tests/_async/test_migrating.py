"""Migrating on request: what was applied, what is pending, and the same as a script."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from pgwerk import SchemaVersionMismatch, Werk
from pgwerk._sql import MIGRATIONS

NAMES = tuple(migration.name for migration in MIGRATIONS)


async def columns(dsn: str, schema: str) -> list[tuple[object, ...]]:
    """All that the server knows of the columns in a schema."""
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        cursor = await connection.execute(
            "SELECT table_name, column_name, data_type, is_nullable, column_default IS NULL "
            "FROM information_schema.columns WHERE table_schema = %s ORDER BY 1, 2",
            [schema],
        )
        return await cursor.fetchall()


async def is_current(app: Werk) -> bool:
    """Whether the tables are those of this release."""
    status = await app.migration_status()
    return status.is_current


async def test_migrate_tells_what_it_applied(make_app: Callable[..., Werk]) -> None:
    """Migrating returns the names of the migrations that were applied, and nothing the second time."""
    app = make_app(auto_migrate=False)
    status = await app.migration_status()
    assert NAMES == status.pending
    assert await app.migrate() == NAMES
    assert await app.migrate() == ()
    status = await app.migration_status()
    assert (True, (), len(NAMES)) == (status.is_current, status.pending, status.version)


@pytest.mark.parametrize("name", ["plain", 'quo"ted %s', "se;mi'colon {x}"])
async def test_script_does_what_migrate_does(dsn: str, name: str) -> None:
    """The script makes the same tables, records what it has applied, and asking for it changes nothing."""
    flavour = Werk.__name__
    schema = f"script {flavour} {name}"
    app = Werk(dsn, schema=schema, prefix=name)
    script = await app.migration_script()
    assert not await is_current(app)
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute(script.encode())
    assert await is_current(app)
    assert "" == await app.migration_script()
    await app.connect()
    made = await columns(dsn, schema)
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute(psycopg.sql.SQL("DROP SCHEMA {} CASCADE").format(psycopg.sql.Identifier(schema)))
    await app.migrate()
    assert [] != made
    assert await columns(dsn, schema) == made


async def test_script_keeps_what_is_fixed_at_creation(make_app: Callable[..., Werk], dsn: str) -> None:
    """The script makes tables for the configuration of the application."""
    app = make_app(config={"ephemeral_tables": True})
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        script = await app.migration_script()
        await connection.execute(script.encode())
    await app.connect()


async def test_script_that_comes_late_changes_nothing(make_app: Callable[..., Werk], dsn: str) -> None:
    """A script that is run after somebody else has migrated fails as a whole."""
    app = make_app()
    script = await app.migration_script()
    await app.migrate()
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        with pytest.raises(psycopg.Error):
            await connection.execute(script.encode())
    assert await is_current(app)
    await app.connect()


async def test_newer_tables_have_no_script(make_app: Callable[..., Werk], dsn: str, schema: str) -> None:
    """Tables of a later release are neither migrated nor scripted."""
    app = make_app()
    await app.migrate()
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        insert = f"INSERT INTO {schema}.\"_pgwerk_migrations\" VALUES (999, 'later', false)"
        await connection.execute(insert.encode())
    for method in (app.migrate, app.migration_script):
        with pytest.raises(SchemaVersionMismatch, match="version 999"):
            await method()
