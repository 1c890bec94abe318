# Generated from tests/_async/test_migrating.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""Migrating on request: what was applied, what is pending, and the same as a script."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from pgwerk import SchemaVersionMismatch, SyncWerk
from pgwerk._sql import MIGRATIONS

NAMES = tuple(migration.name for migration in MIGRATIONS)


def columns(dsn: str, schema: str) -> list[tuple[object, ...]]:
    """All that the server knows of the columns in a schema."""
    with psycopg.Connection.connect(dsn) as connection:
        cursor = connection.execute(
            "SELECT table_name, column_name, data_type, is_nullable, column_default IS NULL "
            "FROM information_schema.columns WHERE table_schema = %s ORDER BY 1, 2",
            [schema],
        )
        return cursor.fetchall()


def is_current(app: SyncWerk) -> bool:
    """Whether the tables are those of this release."""
    status = app.migration_status()
    return status.is_current


def test_migrate_tells_what_it_applied(make_app: Callable[..., SyncWerk]) -> None:
    """Migrating returns the names of the migrations that were applied, and nothing the second time."""
    app = make_app(auto_migrate=False)
    status = app.migration_status()
    assert NAMES == status.pending
    assert app.migrate() == NAMES
    assert app.migrate() == ()
    status = app.migration_status()
    assert (True, (), len(NAMES)) == (status.is_current, status.pending, status.version)


@pytest.mark.parametrize("name", ["plain", 'quo"ted %s', "se;mi'colon {x}"])
def test_script_does_what_migrate_does(dsn: str, name: str) -> None:
    """The script makes the same tables, records what it has applied, and asking for it changes nothing."""
    flavour = SyncWerk.__name__
    schema = f"script {flavour} {name}"
    app = SyncWerk(dsn, schema=schema, prefix=name)
    script = app.migration_script()
    assert not is_current(app)
    with psycopg.Connection.connect(dsn, autocommit=True) as connection:
        connection.execute(script.encode())
    assert is_current(app)
    assert "" == app.migration_script()
    app.connect()
    made = columns(dsn, schema)
    with psycopg.Connection.connect(dsn, autocommit=True) as connection:
        connection.execute(psycopg.sql.SQL("DROP SCHEMA {} CASCADE").format(psycopg.sql.Identifier(schema)))
    app.migrate()
    assert [] != made
    assert columns(dsn, schema) == made


def test_script_keeps_what_is_fixed_at_creation(make_app: Callable[..., SyncWerk], dsn: str) -> None:
    """The script makes tables for the configuration of the application."""
    app = make_app(config={"ephemeral_tables": True})
    with psycopg.Connection.connect(dsn, autocommit=True) as connection:
        script = app.migration_script()
        connection.execute(script.encode())
    app.connect()


def test_script_that_comes_late_changes_nothing(make_app: Callable[..., SyncWerk], dsn: str) -> None:
    """A script that is run after somebody else has migrated fails as a whole."""
    app = make_app()
    script = app.migration_script()
    app.migrate()
    with psycopg.Connection.connect(dsn, autocommit=True) as connection:
        with pytest.raises(psycopg.Error):
            connection.execute(script.encode())
    assert is_current(app)
    app.connect()


def test_newer_tables_have_no_script(make_app: Callable[..., SyncWerk], dsn: str, schema: str) -> None:
    """Tables of a later release are neither migrated nor scripted."""
    app = make_app()
    app.migrate()
    with psycopg.Connection.connect(dsn) as connection:
        insert = f"INSERT INTO {schema}.\"_pgwerk_migrations\" VALUES (999, 'later', false)"
        connection.execute(insert.encode())
    for method in (app.migrate, app.migration_script):
        with pytest.raises(SchemaVersionMismatch, match="version 999"):
            method()
