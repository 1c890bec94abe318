"""The migrations: numbered files, which never change once they are released."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import NamedTuple

from psycopg import sql

from pgwerk._sql.names import Names
from pgwerk._sql.rendering import render
from pgwerk._sql.statements import Statements


class Migration(NamedTuple):
    """One step from a version of the tables to the next.

    Attributes:
        version: The version that it leads to.
        name: The name of its file.
    """

    version: int
    name: str

    def sql(self, names: Names, *, ephemeral_tables: bool) -> bytes:
        """The statements of the migration for these names, to be sent without parameters."""
        text = files(__package__).joinpath(self.name).read_text(encoding="utf-8")
        placeholders = {**names.placeholders(), "unlogged": "UNLOGGED" if ephemeral_tables else ""}
        return render(text, placeholders).encode()


def _find() -> tuple[Migration, ...]:
    found = sorted(entry.name for entry in files(__package__).iterdir() if entry.name.endswith(".sql"))
    return tuple(Migration(version=int(name.split("_", 1)[0]), name=name) for name in found)


MIGRATIONS = _find()


class Step(NamedTuple):
    """One thing that is sent when tables are migrated.

    Attributes:
        purpose: What it is for.
        sql: One statement or several, to be sent without parameters.
        completes: The name of the migration that is done with it; None while one is not.
    """

    purpose: str
    sql: bytes
    completes: str | None = None


def steps(statements: Statements, version: int, *, ephemeral_tables: bool) -> Iterator[Step]:
    """What leads from a version of the tables to the last one, within a transaction that holds the lock.

    Args:
        statements: The statements for these tables.
        version: The version that they have; 0 when there are none.
        ephemeral_tables: As in the configuration.
    """
    if version == 0:
        yield Step("where migrations are recorded", statements["create_migrations"])
    for migration in MIGRATIONS:
        if migration.version > version:
            yield Step(migration.name, migration.sql(statements.names, ephemeral_tables=ephemeral_tables))
            # The same text is sent and printed, so it has no parameters.
            values = {
                "version": str(migration.version),
                "name": sql.quote(migration.name),
                "ephemeral_tables": str(ephemeral_tables).lower(),
            }
            record = statements["record_migration"].decode() % values
            yield Step(f"{migration.name} is recorded", record.encode(), migration.name)


def script(statements: Statements, version: int, *, ephemeral_tables: bool) -> str:
    """The text of all that, with its transaction and its lock, for somebody who runs it by hand; empty for nothing."""
    parts = [
        f"-- {step.purpose}\n{step.sql.decode().strip()};\n"
        for step in steps(statements, version, ephemeral_tables=ephemeral_tables)
    ]
    if not parts:
        return ""
    lock = f"-- one at a time\n{statements['lock_migrations'].decode()};\n"
    return "\n".join(["BEGIN;\n", lock, *parts, "COMMIT;\n"])
