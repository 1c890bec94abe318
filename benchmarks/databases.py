"""The server that is measured on, and a database of its own for each run."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgwerk.embedded import EmbeddedPostgres

SETTINGS = (
    "server_version",
    "shared_buffers",
    "max_wal_size",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "autovacuum",
)
"""What is noted down with the figures."""


@contextlib.contextmanager
def server(dsn: str | None) -> Iterator[str]:
    """The DSN of the server: the one given, that of PGWERK_TEST_DSN, or that of an embedded one."""
    given = dsn or os.environ.get("PGWERK_TEST_DSN")
    if given:
        yield given
    else:
        # Durable, as people run theirs: what a throw-away server is spared is a part of what they pay.
        # A hundred workers have several connections each.
        with EmbeddedPostgres(settings={"fsync": "on", "max_connections": 800}) as embedded:
            yield embedded.dsn


@contextlib.contextmanager
def scratch_database(server_dsn: str) -> Iterator[str]:
    """The DSN of a new database, which is dropped in the end."""
    name = f"pgwerk_bench_{secrets.token_hex(6)}"
    _execute(server_dsn, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield make_conninfo(server_dsn, dbname=name)
    finally:
        _execute(server_dsn, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def settings(dsn: str) -> dict[str, str]:
    """What the server is set to, as far as the figures depend on it."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT name, setting, unit FROM pg_settings WHERE name = ANY (%s)", [list(SETTINGS)])
        return {name: f"{setting} x {unit}" if unit else setting for name, setting, unit in rows}


def _execute(dsn: str, statement: sql.Composed) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statement)
