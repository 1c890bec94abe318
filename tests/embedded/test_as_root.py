"""Root may start a server too; it then runs as somebody else, because PostgreSQL insists."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tests.embedded.helpers import AS_ROOT, ask, needs_wheel, postmaster_of

from pgwerk import embedded
from pgwerk.embedded import EmbeddedError, EmbeddedPostgres

pytestmark = [needs_wheel, pytest.mark.skipif(not AS_ROOT, reason="these tests are about root")]

DAEMON = 1  # an ordinary user's id, on Linux and on macOS


def test_the_server_runs_as_nobody(server: EmbeddedPostgres) -> None:
    """It gets the user with the fewest rights, for good, and none of root's groups."""
    import pwd

    nobody = str(pwd.getpwnam("nobody").pw_uid)
    assert nobody == str(server.folder.stat().st_uid)
    status = Path(f"/proc/{postmaster_of(server)}/status")
    if status.exists():
        lines = status.read_text().splitlines()
        ids = {line.split(":")[0]: line.split()[1:] for line in lines}
        assert [nobody] * 4 == ids["Uid"]
        assert [] == ids["Groups"]


def test_an_existing_folder_decides_who_runs_it(place: Path) -> None:
    """The owner of the folder is whom the server runs as, and not in the folder's group."""
    folder = place / "pg"
    folder.mkdir()
    os.chown(folder, DAEMON, 0)
    with EmbeddedPostgres(data_dir=folder) as server:
        assert DAEMON == (folder / "data").stat().st_uid
        assert 0 != (folder / "data").stat().st_gid
        assert 1 == ask(server.dsn, "SELECT 1")


def test_a_folder_out_of_reach_is_refused(place: Path) -> None:
    """The error says who could not use the folder."""
    place.chmod(0o700)
    with pytest.raises(EmbeddedError, match="cannot be used by the user nobody"):
        EmbeddedPostgres(data_dir=place / "pg").start()


def test_programs_out_of_reach_are_copied(temp_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A virtual environment in root's home will do; the copy goes with the server."""
    version, install = max(embedded._installs().items())
    package = install.parent
    libraries = package.with_name(f"{package.name}.libs")
    closed = temp_dir / "closed"
    shutil.copytree(install, closed / package.name / install.name)
    if libraries.exists():
        shutil.copytree(libraries, closed / libraries.name)
    closed.chmod(0o700)
    monkeypatch.setattr(embedded, "_installs", lambda: {version: closed / package.name / install.name})
    with EmbeddedPostgres() as server:
        assert 1 == ask(server.dsn, "SELECT 1")
        assert (server.folder / "install").exists()
    assert [closed] == list(temp_dir.iterdir())
