"""A worker process, as its supervisor sees it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence

from pgwerk.cli.supervised import NOW, READY, STOP, VARIABLE


class Child:
    """A process that runs a worker.

    Args:
        number: Its place, from 1.
        process: The process.
        sock: The line to it.

    Attributes:
        number: Its place.
        pid: Its process id.
        is_ready: Whether it has got as far as to work.
        is_replaced: Whether it was told to stop to make room for a new one.
    """

    def __init__(self, number: int, process: asyncio.subprocess.Process, sock: socket.socket) -> None:
        self.number = number
        self.pid = process.pid
        self.is_ready = False
        self.is_replaced = False
        self._process = process
        self._socket = sock
        self._heard = b""
        self._started_at = time.monotonic()

    @classmethod
    async def start(cls, number: int, command: Sequence[str]) -> Child:
        """Start a process.

        Raises:
            OSError: The system does not.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=theirs.fileno(),
                    env={**os.environ, VARIABLE: str(number)},
                    process_group=0,  # Ctrl-C in a terminal is for the supervisor
                )
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        return cls(number, process, ours)

    def __str__(self) -> str:
        return f"process {self.number} (pid {self.pid})"

    @property
    def lived_secs(self) -> float:
        """For how long it has lived."""
        return time.monotonic() - self._started_at

    async def live(self, on_word: Callable[[str, str], None]) -> int:
        """Wait for its end, and return its exit code; that is negative when a signal has ended it.

        Args:
            on_word: Called with what it says meanwhile: a word, and what it is about.
        """
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket, self._hear, on_word)
        try:
            return await self._process.wait()
        finally:
            loop.remove_reader(self._socket)
            self._socket.close()

    def order_stop(self) -> None:
        """Have it stop in order; to be told so twice is no different."""
        self._say(STOP)

    def order_stop_now(self) -> None:
        """Have it give back at once what it runs."""
        self._say(NOW)

    def report(self) -> None:
        """Have it log what it runs. Before it is ready, the signal would kill it."""
        if self.is_ready:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGUSR1)

    def kill(self) -> None:
        """Kill it, and what it has started in its process group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def _say(self, word: str) -> None:
        with contextlib.suppress(OSError):  # it is dead, and that is going to be noticed
            self._socket.send(f"{word}\n".encode())

    def _hear(self, on_word: Callable[[str, str], None]) -> None:
        try:
            heard = self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            heard = b""
        if not heard:
            asyncio.get_running_loop().remove_reader(self._socket)
        *lines, self._heard = (self._heard + heard).split(b"\n")
        for line in lines:
            word, _, about = os.fsdecode(line).partition(" ")
            self.is_ready = self.is_ready or word == READY
            on_word(word, about)


def ending(code: int) -> str:
    """How a process has ended, given its exit code."""
    if code >= 0:
        return f"has ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
