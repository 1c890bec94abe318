"""A client for each test, with tables of its own."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from pgwerk import Werk

_numbers = itertools.count(1)

MakeApp = Callable[..., Werk]


@pytest.fixture
def schema() -> str:
    """A schema that no other test uses."""
    flavour = Werk.__name__.lower()
    return f"t{next(_numbers)}_{flavour}"


@pytest.fixture
async def make_app(dsn: str, schema: str) -> AsyncIterator[MakeApp]:
    """Make clients of the test's schema; they are disconnected at the end."""
    made: list[Werk] = []

    def make(**options: Any) -> Werk:
        made.append(Werk(dsn, **{"schema": schema, **options}))
        return made[-1]

    yield make
    for app in made:
        await app.disconnect()


@pytest.fixture
async def app(make_app: MakeApp) -> Werk:
    """A client with a pool, so that tests do not wait for connections."""
    return make_app(pool_size=4)
