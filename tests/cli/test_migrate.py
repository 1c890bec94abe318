"""`werk migrate`: tables for deployments."""

from __future__ import annotations

import shutil
import subprocess

import psycopg
import pytest
from tests.cli.running import Shop

from pgwerk._sql import MIGRATIONS

NAMES = [migration.name for migration in MIGRATIONS]
LATEST = MIGRATIONS[-1].version


def test_it_says_what_it_applied(new_shop: Shop) -> None:
    """The first run names what it has applied, and the second one says that there was nothing to do."""
    first = new_shop.run("migrate", "shop:werk")
    assert (0, "".join(f"applied {name}\n" for name in NAMES), "") == first
    second = new_shop.run("migrate", "shop:sync_werk")
    assert (0, f"nothing to do: version {LATEST}\n", "") == second


def test_application_that_does_not_migrate_by_itself(new_shop: Shop) -> None:
    """`auto_migrate=False` is about the application; who runs the command wants to migrate."""
    ended = new_shop.run("migrate", "shop:careful", "--json")
    assert (0, {"version": LATEST, "latest": LATEST, "applied": NAMES}) == (ended.code, ended.json)


def test_check(new_shop: Shop) -> None:
    """With --check nothing is changed, what is pending is printed, and the exit code tells a script."""
    behind = new_shop.run("migrate", "shop:werk", "--check")
    assert (1, "".join(f"pending {name}\n" for name in NAMES), "") == behind
    assert 0 == new_shop.client.migration_status().version
    new_shop.client.migrate()
    current = new_shop.run("migrate", "shop:werk", "--check")
    assert (0, f"nothing to do: version {LATEST}\n", "") == current
    ended = new_shop.run("migrate", "shop:werk", "--check", "--json")
    assert (0, {"version": LATEST, "latest": LATEST, "pending": []}) == (ended.code, ended.json)


@pytest.mark.parametrize("options", [(), ("--check",), ("--sql",)])
def test_newer_tables(shop: Shop, options: tuple[str, ...]) -> None:
    """Tables of a later release have an exit code of their own, and one line that says what to do."""
    with psycopg.connect(shop.dsn) as connection:
        connection.execute(f"INSERT INTO {shop.schema}.\"_pgwerk_migrations\" VALUES (999, 'later', false)".encode())
    ended = shop.run("migrate", "shop:werk", *options)
    assert 4 == ended.code
    assert ended.stderr.startswith("werk: the database has version 999")
    assert ended.stderr.endswith("install the release of pgwerk that migrated the database\n")
    assert 1 == ended.stderr.count("\n")


def test_sql(new_shop: Shop) -> None:
    """With --sql nothing is changed; what is printed makes the tables, run by any client."""
    printed = new_shop.run("migrate", "shop:werk", "--sql")
    assert (0, "") == (printed.code, printed.stderr)
    assert 0 == new_shop.client.migration_status().version
    assert printed.stdout == new_shop.run("migrate", "shop:werk", "--sql", "--json").json["sql"]
    with psycopg.connect(new_shop.dsn, autocommit=True) as connection:
        connection.execute(printed.stdout.encode())
    assert 0 == new_shop.run("migrate", "shop:careful", "--check").code
    assert (0, "", "nothing to do\n") == new_shop.run("migrate", "shop:werk", "--sql")


@pytest.mark.skipif(shutil.which("psql") is None, reason="psql is not installed")
@pytest.mark.parametrize("options", [(), ("-1",)])
def test_sql_for_psql(new_shop: Shop, options: tuple[str, ...]) -> None:
    """What --sql prints is a script for psql, in a transaction of psql's own as well."""
    path = new_shop.write("migration.sql", new_shop.run("migrate", "shop:werk", "--sql").stdout)
    command = ["psql", new_shop.dsn, "-X", "-q", "-v", "ON_ERROR_STOP=1", *options, "-f", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    assert new_shop.client.migration_status().is_current


def test_contradiction(new_shop: Shop) -> None:
    """--check and --sql do not go together."""
    assert 2 == new_shop.run("migrate", "shop:werk", "--check", "--sql").code


def test_unreachable_database(new_shop: Shop) -> None:
    """A database that is not there is one line, and the exit code 3."""
    dsn = "postgresql://me:secret@127.0.0.1:1/shop?connect_timeout=2"
    ended = new_shop.run("migrate", "--dsn", dsn)
    assert (3, "", 1) == (ended.code, ended.stdout, ended.stderr.count("\n"))
    assert "secret" not in ended.stderr
