"""A server to look at, and folders for others."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.embedded.helpers import AS_ROOT

from pgwerk.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="package")
def server() -> Iterator[EmbeddedPostgres]:
    """One server for all tests that only look at it."""
    with EmbeddedPostgres() as server:
        yield server


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder for folders; unlike `tmp_path` it has a short path, and everybody can enter it."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777 if AS_ROOT else 0o700)
    yield folder.resolve()
    shutil.rmtree(folder)


@pytest.fixture
def temp_dir(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that temporary folders are made in."""
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place
