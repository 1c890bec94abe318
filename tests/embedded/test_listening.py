"""Where the server listens, and to whom."""

from __future__ import annotations

import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg
import pytest
from tests.embedded.helpers import ask, needs_wheel

from pgwerk.embedded import EmbeddedError, EmbeddedPostgres

if TYPE_CHECKING:
    pass


@pytest.mark.posix
@needs_wheel
def test_a_socket_is_closed_to_other_users(server: EmbeddedPostgres) -> None:
    """The folder of the socket and the data is its owner's alone, and no port is open."""
    assert 0o700 == stat.S_IMODE(server.folder.stat().st_mode)
    assert (server.folder / ".s.PGSQL.5432").is_socket()
    assert not ask(server.dsn, "SHOW listen_addresses")


@needs_wheel
def test_tcp_takes_the_password_in_the_dsn_and_no_other() -> None:
    """Whoever can reach the port needs the password."""
    with EmbeddedPostgres(tcp=True) as server:
        assert "127.0.0.1" == ask(server.dsn, "SHOW listen_addresses")
        assert 1 == ask(server.dsn, "SELECT 1")
        password = urlsplit(server.dsn).password
        assert password
        for other in (server.dsn.replace(password, "x"), server.dsn.replace(f":{password}", "")):
            with pytest.raises(psycopg.OperationalError, match="password"):
                ask(other, "SELECT 1")


@needs_wheel
def test_a_port_can_be_chosen_and_a_taken_one_is_an_error() -> None:
    """A port that is asked for is the one that is used, or the error says that it is taken."""
    with EmbeddedPostgres(tcp=True) as server:
        port = urlsplit(server.dsn).port
        assert port
        with pytest.raises(EmbeddedError, match="could not bind"):
            EmbeddedPostgres(tcp=port).start()
    with EmbeddedPostgres(tcp=port) as server:
        assert port == urlsplit(server.dsn).port


@pytest.mark.posix
@needs_wheel
def test_long_paths_do_not_matter(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a path is too long for a socket, the socket goes elsewhere, and then away."""
    long = place / ("x" * 100)
    long.mkdir(mode=0o777)
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with EmbeddedPostgres() as server:
        assert long not in server.folder.parents
        assert 1 == ask(server.dsn, "SELECT 1")
    with EmbeddedPostgres(data_dir=long / "lasting") as server:
        assert long / "lasting" == server.folder
        assert 1 == ask(server.dsn, "SELECT 1")
        assert server._place
        socket_dir = Path(server._place["socket_dir"])
        assert socket_dir.exists()
    assert not socket_dir.exists()
