"""Whom the server runs as. PostgreSQL refuses to run as root; everybody else runs it themselves."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pgwerk._embedded.errors import KeeperError
from pgwerk._embedded.servers import program

if sys.platform != "win32":
    import pwd

if TYPE_CHECKING:
    from collections.abc import Iterator


class Account:
    """Ourselves: nothing needs doing."""

    @contextlib.contextmanager
    def effective(self) -> Iterator[None]:
        """Act as this account for a while."""
        yield

    def can_run(self, _command: str) -> bool:
        """Whether this account gets at a program of PostgreSQL."""
        return True

    def give(self, path: Path) -> None:
        """Make a file or folder this account's own."""

    def take_over(self, folder: Path) -> None:
        """Make a new or empty folder of root's this account's own."""

    def become(self) -> None:
        """Act as this account from now on."""


if sys.platform != "win32":

    class OtherAccount(Account):
        """Somebody who is not root, while we are."""

        def __init__(self, uid: int, gid: int) -> None:
            self._uid = uid
            self._gid = gid

        @contextlib.contextmanager
        def effective(self) -> Iterator[None]:
            """Act as this account for a while."""
            groups, gid = os.getgroups(), os.getegid()
            os.setgroups([])
            os.setegid(self._gid)
            os.seteuid(self._uid)
            try:
                yield
            finally:
                os.seteuid(0)
                os.setegid(gid)
                os.setgroups(groups)

        def can_run(self, command: str) -> bool:
            """Whether this account gets at a program of PostgreSQL."""
            with contextlib.suppress(PermissionError):
                done = subprocess.run(  # noqa: S603 - a program of the wheel
                    [command, "--version"],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    user=self._uid,
                    group=self._gid,
                    extra_groups=[],
                    check=False,
                )
                return done.returncode == 0
            return False

        def give(self, path: Path) -> None:
            """Make a file or folder this account's own."""
            os.chown(path, self._uid, self._gid, follow_symlinks=False)

        def take_over(self, folder: Path) -> None:
            """Make a new or empty folder of root's this account's own."""
            folder.mkdir(parents=True, exist_ok=True)
            if folder.stat().st_uid == 0 and not any(folder.iterdir()):
                self.give(folder)

        def become(self) -> None:
            """Act as this account from now on."""
            os.setgroups([])
            os.setgid(self._gid)
            os.setuid(self._uid)


def find_account(folder: str | None) -> Account:
    """For root the owner of an existing folder, or else `nobody`; for everybody else themselves."""
    if sys.platform == "win32":
        return Account()
    else:  # noqa: RET505 - so that mypy leaves it out on Windows
        if os.geteuid() != 0:
            return Account()
        if folder is not None and Path(folder).exists():
            found = Path(folder).stat()
            if found.st_uid != 0:
                return OtherAccount(found.st_uid, _group_of(found.st_uid))
        try:
            nobody = pwd.getpwnam("nobody")
        except KeyError:
            raise KeeperError("PostgreSQL refuses to run as root, and there is no user 'nobody' to run it as") from None
        return OtherAccount(nobody.pw_uid, nobody.pw_gid)


if sys.platform != "win32":

    def _group_of(uid: int) -> int:
        """Not that of the folder, which may be root's."""
        try:
            return pwd.getpwuid(uid).pw_gid
        except KeyError:  # as in a container that was told to run as some number
            return uid


def readable_install(install: Path, scratch: Path, account: Account) -> Path:
    """The programs, or a copy where the account cannot get at them: say, of root's home."""
    if account.can_run(program(install, "initdb")):
        return install
    package = install.parent
    copies = scratch / "install"
    copy = copies / package.name / install.name
    shutil.copytree(install, copy, ignore=shutil.ignore_patterns("include", "*.a"))
    # The programs look for the libraries of the wheel in these places, relative to themselves.
    for libraries in (package.with_name(f"{package.name}.libs"), package / ".dylibs"):
        if libraries.exists():
            shutil.copytree(libraries, copies / libraries.relative_to(package.parent))
    for path in (copies, *copies.rglob("*")):
        path.chmod(0o755)
        account.give(path)
    return copy
