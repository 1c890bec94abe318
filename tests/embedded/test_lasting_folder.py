"""A folder that lasts: its data, its version, one server at a time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from tests.embedded.helpers import ask, needs_wheel

from pgwerk import embedded
from pgwerk.embedded import EmbeddedError, EmbeddedPostgres

if TYPE_CHECKING:
    pass


@needs_wheel
@pytest.mark.parametrize("tcp", [False, True])
def test_a_folder_that_lasts_keeps_data_and_dsn(place: Path, tcp: bool) -> None:
    """The next server in the folder has the data, also after a crash, and syncs to the disk."""
    server = EmbeddedPostgres(data_dir=place / "pg", tcp=tcp)
    server.start()
    dsn = server.dsn
    ask(dsn, "CREATE TABLE t AS SELECT 7 AS n; SELECT 1")
    assert "on" == ask(dsn, "SHOW fsync")
    server.stop("immediate")
    with pytest.raises(psycopg.OperationalError):
        ask(dsn, "SELECT 1")
    with server:
        assert dsn == server.dsn
        assert 7 == ask(dsn, "SELECT n FROM t")
    with EmbeddedPostgres(data_dir=place / "pg", tcp=tcp) as another:
        assert 7 == ask(another.dsn, "SELECT n FROM t")


@needs_wheel
def test_a_folder_belongs_to_one_major_version(place: Path) -> None:
    """Its version is the default; another one is an error that says what to do."""
    oldest, newest = min(embedded._installs()), max(embedded._installs())
    with EmbeddedPostgres(data_dir=place / "pg", version=oldest):
        pass
    with EmbeddedPostgres(data_dir=place / "pg") as server:
        assert oldest == server.version
    with pytest.raises(EmbeddedError, match=f"belongs to PostgreSQL {oldest}, not {newest}"):
        EmbeddedPostgres(data_dir=place / "pg", version=newest).start()


@needs_wheel
def test_the_second_in_a_folder_hears_who_is_the_first(place: Path) -> None:
    """One server at a time: the second gets an error with the first one's process, and no harm."""
    with EmbeddedPostgres(data_dir=place / "pg") as server:
        with pytest.raises(EmbeddedError, match=f"in use by process {os.getpid()}: "):
            EmbeddedPostgres(data_dir=place / "pg").start()
        assert 1 == ask(server.dsn, "SELECT 1")


@needs_wheel
def test_the_folder_of_something_else_is_left_alone(place: Path) -> None:
    """A folder with other files in it is refused."""
    (place / "letter").write_text("dear Sir or Madam")
    with pytest.raises(EmbeddedError, match="not empty"):
        EmbeddedPostgres(data_dir=place).start()
    assert ["letter"] == [path.name for path in place.iterdir()]


@needs_wheel
def test_an_unfinished_folder_is_finished(place: Path) -> None:
    """What a killed first start left behind is no obstacle."""
    with EmbeddedPostgres(data_dir=place / "pg"):
        pass
    (place / "pg" / "data").rename(place / "pg" / "data.new")
    (place / "pg" / "data.new" / "PG_VERSION").unlink()
    with EmbeddedPostgres(data_dir=place / "pg") as server:
        assert 1 == ask(server.dsn, "SELECT 1")
