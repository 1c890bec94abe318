# Generated from tests/_async/conftest.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""A client for each test, with tables of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pgwerk import SyncWerk

_numbers = itertools.count(1)

MakeApp = Callable[..., SyncWerk]


@pytest.fixture
def schema() -> str:
    """A schema that no other test uses."""
    flavour = SyncWerk.__name__.lower()
    return f"t{next(_numbers)}_{flavour}"


@pytest.fixture
def make_app(dsn: str, schema: str) -> Iterator[MakeApp]:
    """Make clients of the test's schema; they are disconnected at the end."""
    made: list[SyncWerk] = []

    def make(**options: Any) -> SyncWerk:
        made.append(SyncWerk(dsn, **{"schema": schema, **options}))
        return made[-1]

    yield make
    for app in made:
        app.disconnect()


@pytest.fixture
def app(make_app: MakeApp) -> SyncWerk:
    """A client with a pool, so that tests do not wait for connections."""
    return make_app(pool_size=4)
