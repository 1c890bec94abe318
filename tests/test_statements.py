"""The files with SQL: each is described, used, and valid on the server."""

from __future__ import annotations

import itertools
import re
from importlib.resources import files
from pathlib import Path

import psycopg
import pytest

from pgwerk import Werk
from pgwerk._sql import MIGRATIONS, Names, Statements

FOLDER = Path(str(files("pgwerk._sql.statements")))
STATEMENTS = sorted(file.stem for file in FOLDER.glob("*.sql"))
FRAGMENTS = sorted(f"fragments/{file.stem}" for file in FOLDER.glob("fragments/*.sql"))
PACKAGE = FOLDER.parents[1]

PARTS = {
    name: sorted(set(re.findall(r"--\? (\w+)$", (FOLDER / f"{name}.sql").read_text(encoding="utf-8"), re.MULTILINE)))
    for name in STATEMENTS
}
PARTS = {name: parts for name, parts in PARTS.items() if parts}
"""The parts that lines of a statement are marked with."""

NO_PARAMETERS = re.compile(r"%\((\w+)\)s")
NOT_PREPARABLE = {"lock_migrations", "create_migrations", "limit_lock_wait", "truncate", "vacuum"}
"""More than one statement each, or utilities, sent as they are."""


@pytest.mark.parametrize("name", [*STATEMENTS, *FRAGMENTS])
def test_statement_is_described(name: str) -> None:
    """Each statement begins with a comment that says what it does and what it locks."""
    lines = (FOLDER / f"{name}.sql").read_text(encoding="utf-8").splitlines()
    comment = " ".join(line for line in lines if line.startswith("--"))
    assert lines[0].startswith("-- ")
    assert len(comment) > 40


def test_every_statement_is_used() -> None:
    """No statement lies about that nothing sends, and none is sent that is not there."""
    source = "\n".join(file.read_text(encoding="utf-8") for file in PACKAGE.rglob("*.py") if "_sync" not in file.parts)
    named = set(re.findall(r"_statements\[\"(\w+)\"\]", source)) | set(re.findall(r"\"(\w+)\"", source)) & set(
        STATEMENTS
    )
    assert set(STATEMENTS) == named
    texts = "\n".join((FOLDER / f"{name}.sql").read_text(encoding="utf-8") for name in STATEMENTS)
    texts += (FOLDER / "__init__.py").read_text(encoding="utf-8")  # variants put one in the place of another
    assert FRAGMENTS
    assert [] == [name for name in FRAGMENTS if f"{{{Path(name).name}}}" not in texts]


@pytest.mark.parametrize("name", [name for name in STATEMENTS if name not in NOT_PREPARABLE])
async def test_statement_is_valid(name: str, dsn: str) -> None:
    """The server understands each statement, for names that need quoting."""
    async with Werk(dsn, schema="Valid %s {x}", prefix='a "b" %') as app:
        statements = Statements(Names(app.config.schema, app.config.prefix))
    await check_is_valid(statements[name].decode(), dsn)


@pytest.mark.parametrize(
    "name", ["claim_from_head", "turn_over_from_head", "claim_in_turns", "turn_over_in_turns", "list_newest_jobs"]
)
async def test_variant_is_valid(name: str, dsn: str) -> None:
    """The server understands statements that share a file with another one as well."""
    async with Werk(dsn) as app:
        statements = Statements(Names(app.config.schema, app.config.prefix))
    await check_is_valid(statements[name].decode(), dsn)


@pytest.mark.parametrize("name", sorted(PARTS))
async def test_statement_is_valid_without_its_parts(name: str, dsn: str) -> None:
    """A statement that has parts is understood with any of them, and has all of them by default."""
    async with Werk(dsn) as app:
        statements = Statements(Names(app.config.schema, app.config.prefix))
    texts = set()
    for count in range(len(PARTS[name]) + 1):
        for parts in itertools.combinations(PARTS[name], count):
            texts.add(statements.with_parts(name, frozenset(parts)))
            await check_is_valid(statements.with_parts(name, frozenset(parts)).decode(), dsn)
    assert 2 ** len(PARTS[name]) == len(texts)
    assert statements[name] == statements.with_parts(name, frozenset(PARTS[name]))


async def check_is_valid(text: str, dsn: str) -> None:
    parameters: dict[str, int] = {}
    for parameter in NO_PARAMETERS.findall(text):
        parameters.setdefault(parameter, len(parameters) + 1)
    prepared = NO_PARAMETERS.sub(lambda match: f"${parameters[match[1]]}", text)
    if parameters:
        prepared = prepared.replace("%%", "%")
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        await connection.execute(f"PREPARE checked AS {prepared}".encode())


def test_migrations_are_numbered_without_gaps() -> None:
    """The migrations lead from one version to the next."""
    assert list(range(1, len(MIGRATIONS) + 1)) == [migration.version for migration in MIGRATIONS]
    assert sorted(migration.name for migration in MIGRATIONS) == [migration.name for migration in MIGRATIONS]


@pytest.mark.parametrize("column", ["status", "failure_mode"])
async def test_word_that_does_not_exist_is_refused(column: str, dsn: str) -> None:
    """Nobody gives a job a status or a failure mode that there is not, not even by hand."""
    async with Werk(dsn, schema="odd words") as app:
        job = await app.enqueue("any.handler")
        assert job is not None
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            with pytest.raises(psycopg.errors.CheckViolation):
                await connection.execute(f"UPDATE \"odd words\"._pgwerk_jobs SET {column} = 'done'".encode())
