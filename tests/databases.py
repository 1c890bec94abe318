"""The server that tests run against, and a database of its own for each run.

The server is that of `PGWERK_TEST_DSN`, or else an embedded one, whose major version `PGWERK_TEST_PG` chooses.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgwerk.embedded import EmbeddedPostgres


def embedded_version() -> int:
    """The major version of embedded servers."""
    return int(os.environ.get("PGWERK_TEST_PG", "18"))


@contextlib.contextmanager
def tested_server() -> Iterator[str]:
    """The DSN of the server."""
    if given := os.environ.get("PGWERK_TEST_DSN"):
        yield given
    else:
        with EmbeddedPostgres(version=embedded_version(), tcp=True) as server:
            yield server.dsn


@contextlib.contextmanager
def scratch_database(server_dsn: str) -> Iterator[str]:
    """The DSN of a new database, which is dropped in the end."""
    name = f"pgwerk_test_{secrets.token_hex(6)}"
    with psycopg.connect(server_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield make_conninfo(server_dsn, dbname=name)
    finally:
        with psycopg.connect(server_dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
