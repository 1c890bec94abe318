"""The server's folders: temporary ones, and lasting ones that one server uses at a time."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from pgwerk._embedded.errors import KeeperError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl
    import pwd

OUR_FILES = {"data", "data.new", "server.log", "password", "lock"}
SOCKET_PATH_LIMIT = 100  # bytes; the kernels allow 103 (macOS) to 107 (Linux)
POLL = 0.005  # seconds between two tries


def make_scratch(temp_dirs: list[str], socket: str | None) -> Path:
    """A temporary folder in the first place that will do.

    Args:
        temp_dirs: The places, best first.
        socket: The name of the Unix socket that has to fit, if there is to be one.
    """
    problems = []
    for base in temp_dirs:
        if socket and not fits_a_socket(Path(base, "pgwerk-01234567", socket)):
            problems.append(f"{base} is too long for the path of a Unix socket")
            continue
        try:
            return Path(tempfile.mkdtemp(prefix="pgwerk-", dir=base))
        except OSError as error:
            problems.append(f"{base}: {error.strerror}")
    raise KeeperError("no temporary folder can be made here; " + "; ".join(problems))


def fits_a_socket(path: Path) -> bool:
    """Whether a Unix socket can have this path."""
    return len(os.fsencode(path)) <= SOCKET_PATH_LIMIT


def check_folder(folder: Path) -> None:
    """Make a lasting folder if need be; refuse one that is something else's."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = {path.name for path in folder.iterdir() if not path.name.startswith(".s.PGSQL.")}
        if not names <= OUR_FILES:
            raise KeeperError(f"{folder} is not empty and was not made by pgwerk.embedded: take another folder")
        folder.chmod(0o700)
    except OSError as error:
        raise KeeperError(f"{folder} cannot be used by {_who()}: {error.strerror}") from None


def remove(folder: Path) -> None:
    """Remove a folder, in several goes if need be.

    Windows holds on to files for a moment after a process has ended, and a server that is being
    stopped still writes.
    """
    deadline = time.monotonic() + 10
    while folder.exists() and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            time.sleep(POLL)


class FolderLock:
    """One server at a time in a lasting folder.

    The file names the owner while it is there and is empty while the server stops, so that whoever
    comes next either gives up at once or waits for the end. The lock goes with the keeper, however
    that ends.
    """

    def __init__(self, folder: Path, owner: int) -> None:
        self._folder = folder
        self._owner = owner
        self._file = (folder / "lock").open("a+", encoding="utf-8")

    def take(self, timeout: float) -> None:
        """Take it, or say who has it."""
        deadline = time.monotonic() + timeout
        while not self._try():
            self._file.seek(0)
            if owner := self._file.read():
                raise KeeperError(f"{self._folder} is in use by process {owner}: use the DSN of its server")
            if time.monotonic() > deadline:
                raise KeeperError(f"{self._folder} is in use by a server that does not end")
            time.sleep(POLL)
        self.say_stopping()
        self._file.write(str(self._owner))
        self._file.flush()

    def say_stopping(self) -> None:
        """Let those who come next wait."""
        self._file.truncate(0)

    def release(self) -> None:
        """Let the next one in."""
        self._file.close()

    def _try(self) -> bool:
        try:
            if sys.platform == "win32":
                self._file.seek(1 << 20)  # beyond the text, which others must be able to read
                msvcrt.locking(self._file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def _who() -> str:
    if sys.platform == "win32":
        return "this user"
    else:  # noqa: RET505 - so that mypy leaves it out on Windows
        try:
            name = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            name = str(os.getuid())
        return f"the user {name}, as whom the server runs"
