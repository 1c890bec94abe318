"""Starting and stopping the server, and running the other programs of PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Protocol

from pgwerk._embedded.errors import KeeperError

if sys.platform == "linux":
    import ctypes

if TYPE_CHECKING:
    from pathlib import Path

POLL = 0.005  # seconds between two looks at a server that starts
SET_PARENT_DEATH_SIGNAL = 1  # of prctl(2)


class Server(Protocol):
    """How a server is started and stopped on this operating system."""

    def start(self) -> None:
        """Start it and return when it takes connections."""

    def stop(self, mode: str) -> None:
        """Stop it and return when it has ended; nothing happens when it does not run."""


def make_server(install: Path, folder: Path, timeout: float, *, through_pg_ctl: bool) -> Server:
    """The server of a folder: its cluster is in `data`, its log goes to `server.log`."""
    data = str(folder / "data")
    if sys.platform != "win32":
        if not through_pg_ctl:
            return ChildServer([program(install, "postgres"), "-D", data], folder, timeout)
    return PgCtlServer([program(install, "pg_ctl"), "-D", data, "--wait"], folder, timeout)


if sys.platform != "win32":

    class ChildServer:
        """The server as our own child: its process id stays its own while we hold it."""

        def __init__(self, command: list[str], folder: Path, timeout: float) -> None:
            self._command = command
            self._folder = folder
            self._timeout = timeout
            self._process: subprocess.Popen[bytes] | None = None

        def start(self) -> None:
            """Start it and return when it takes connections."""
            with (self._folder / "server.log").open("ab") as log:
                self._process = subprocess.Popen(  # noqa: S603 - a program of the wheel
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._folder,
                    env=_environment(),
                    preexec_fn=_end_with_parent,  # noqa: PLW1509 - this process has one thread
                )
            deadline = time.monotonic() + self._timeout
            while not self._ready(self._process.pid):
                if (code := self._process.poll()) is not None:
                    raise KeeperError(f"PostgreSQL did not start (exit code {code})")
                if time.monotonic() > deadline:
                    self.stop("immediate")
                    raise KeeperError(f"PostgreSQL did not start within {self._timeout:g} s")
                time.sleep(POLL)

        def stop(self, mode: str) -> None:
            """Stop it, asking ever more firmly, and return when it has ended."""
            if self._process is None:
                return
            steps = [(signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)]
            if mode == "fast":
                steps.insert(0, (signal.SIGINT, 30.0))
            for number, seconds in steps:
                self._process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(seconds)
                    break
            self._process = None

        def _ready(self, pid: int) -> bool:
            """The server writes its state into the eighth line of postmaster.pid."""
            try:
                lines = (self._folder / "data" / "postmaster.pid").read_text().splitlines()
            except OSError:
                return False
            return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


class PgCtlServer:
    """The server by way of pg_ctl, which on Windows takes an administrator's rights from it."""

    def __init__(self, command: list[str], folder: Path, timeout: float) -> None:
        self._command = command
        self._folder = folder
        self._timeout = timeout

    def start(self) -> None:
        """Start it and return when it takes connections."""
        log = self._folder / "server.log"
        self._call("start", f"--timeout={self._timeout:.0f}", f"--log={log}")

    def stop(self, mode: str) -> None:
        """Stop it and return when it has ended."""
        if not (self._folder / "data" / "postmaster.pid").exists():
            return
        try:
            self._call("stop", f"--mode={mode}", "--timeout=30")
        except KeeperError:
            self._call("stop", "--mode=immediate", "--timeout=10")

    def _call(self, what: str, *options: str) -> None:
        # The server inherits what pg_ctl writes to: a pipe would not end before the server.
        code = subprocess.run(  # noqa: S603 - a program of the wheel
            [*self._command, what, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
            env=_environment(),
            check=False,
        ).returncode
        if code:
            raise KeeperError(f"PostgreSQL did not {what} (exit code {code} of pg_ctl)")


def run(command: list[str], folder: Path, timeout: float) -> None:
    """Run a program of PostgreSQL to its end; what it complains about goes into the error."""
    name = os.path.basename(command[0])
    try:
        done = subprocess.run(  # noqa: S603 - a program of the wheel
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=_environment(),
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise KeeperError(f"{name} did not end within {timeout:g} s") from None
    if done.returncode:
        text = done.stderr.decode(errors="replace").strip()
        raise KeeperError(f"{name} failed (exit code {done.returncode})\n{text}")


def program(install: Path, name: str) -> str:
    """The path of a program of PostgreSQL."""
    return str(install / "bin" / (f"{name}.exe" if sys.platform == "win32" else name))


def _environment() -> dict[str, str]:
    """Ours, less what PostgreSQL would read: the same server whatever the user's variables."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_", "LANG"))}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


if sys.platform == "linux":

    def _end_with_parent() -> None:
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGINT)

else:
    _end_with_parent = None
