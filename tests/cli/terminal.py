"""Commands in a terminal: what they ask there, and what they draw."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import termios
import threading
import time
from collections.abc import Iterator

from tests.cli.running import PATIENCE_SECS, Shop, command_line, environment


class Terminal:
    """A command whose three streams are a terminal of 80 columns and 24 lines."""

    def __init__(self, shop: Shop, arguments: tuple[str, ...]) -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, 80))
        self._process = subprocess.Popen(
            command_line(*arguments),
            cwd=shop.folder,
            env=environment({"TERM": "xterm"}),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self._shown = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def shown(self) -> str:
        """All that was written to the terminal up to now."""
        return self._shown.decode(errors="replace").replace("\r\n", "\n")

    def wait_for(self, text: str) -> None:
        """Wait until a text was written."""
        deadline = time.monotonic() + PATIENCE_SECS
        while text not in self.shown:
            assert time.monotonic() < deadline, f"not shown: {text!r}\n{self.shown}"
            time.sleep(0.02)

    def type(self, text: str) -> None:
        """Type at the keyboard."""
        os.write(self._master, text.encode())

    def press_ctrl_c(self) -> None:
        """Interrupt the command."""
        os.killpg(self._process.pid, signal.SIGINT)

    def wait(self) -> int:
        """Wait for the end, and return the exit code."""
        code = self._process.wait(PATIENCE_SECS)
        self._reader.join(PATIENCE_SECS)
        return code

    def close(self) -> None:
        """End it for good."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join(PATIENCE_SECS)
        os.close(self._master)

    def _read(self) -> None:
        # Linux says EIO when nobody has the other end open any more, macOS the end of the file.
        with contextlib.suppress(OSError):
            while chunk := os.read(self._master, 65536):
                self._shown += chunk


@contextlib.contextmanager
def in_terminal(shop: Shop, *arguments: str) -> Iterator[Terminal]:
    """Run a command in a terminal; it ends with the block at the latest."""
    terminal = Terminal(shop, arguments)
    try:
        yield terminal
    finally:
        terminal.close()
