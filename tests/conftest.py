"""The database that the tests run against: `PGWERK_TEST_DSN`, or else an embedded PostgreSQL.

`PGWERK_TEST_PG` chooses the major version of the embedded one. Either way the tests get a database
of their own, which is dropped at the end.
"""

from __future__ import annotations

import os
import secrets
import signal
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgwerk.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_configure() -> None:
    """Let programs that the tests start be interrupted: a shell that runs this in the background ignores SIGINT."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def pg_server_dsn() -> Iterator[str]:
    """A DSN of the server, for whoever needs more than a database on it."""
    if given := os.environ.get("PGWERK_TEST_DSN"):
        yield given
    else:
        version = int(os.environ.get("PGWERK_TEST_PG", "18"))
        with EmbeddedPostgres(version=version, tcp=True) as server:
            yield server.dsn


@pytest.fixture(scope="session")
def database(pg_server_dsn: str) -> Iterator[str]:
    """The DSN of a database that this run of the tests has to itself."""
    name = f"pgwerk_test_{secrets.token_hex(6)}"
    with psycopg.connect(pg_server_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield make_conninfo(pg_server_dsn, dbname=name)
    with psycopg.connect(pg_server_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def dsn(database: str) -> str:
    """The DSN of the tests' database."""
    return database
