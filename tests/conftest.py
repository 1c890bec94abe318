"""The database that the tests run against: one of their own, which is dropped at the end (databases.py)."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from tests.databases import scratch_database, tested_server

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_configure() -> None:
    """Let programs that the tests start be interrupted: a shell that runs this in the background ignores SIGINT."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def pg_server_dsn() -> Iterator[str]:
    """A DSN of the server, for whoever needs more than a database on it."""
    with tested_server() as dsn:
        yield dsn


@pytest.fixture(scope="session")
def database(pg_server_dsn: str) -> Iterator[str]:
    """The DSN of a database that this run of the tests has to itself."""
    with scratch_database(pg_server_dsn) as dsn:
        yield dsn


@pytest.fixture
def dsn(database: str) -> str:
    """The DSN of the tests' database."""
    return database
