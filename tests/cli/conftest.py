"""An application in a folder of its own, for each test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.running import Shop, opened

_numbers = itertools.count(1)


@pytest.fixture
def new_shop(tmp_path: Path, dsn: str) -> Iterator[Shop]:
    """An application whose tables are not there yet."""
    with opened(tmp_path, dsn, f"cli{next(_numbers)}") as shop:
        yield shop


@pytest.fixture
def shop(new_shop: Shop) -> Shop:
    """An application with its tables."""
    new_shop.client.migrate()
    return new_shop
