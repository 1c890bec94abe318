"""A real terminal: tmux, with a server of its own for each test, whose screen can be read and whose keys pressed."""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from tests.cli.running import PATIENCE_SECS, command_line, environment

MISSING = "tmux is not installed (apt-get install tmux)"

_numbers = itertools.count(1)


class Terminal:
    """A terminal in which one command runs; after its end, what was left of the terminal is shown.

    Args:
        binary: Where tmux is.
        folder: The folder in which the command runs.
        size: Columns and lines.
        arguments: What follows `werk`.
    """

    def __init__(self, binary: str, folder: Path, size: tuple[int, int], arguments: tuple[str, ...]) -> None:
        self._tmux = [binary, "-u", "-L", f"pgwerk-{os.getpid()}-{next(_numbers)}", "-f", os.devnull]
        self._folder = folder
        self._run("new-session", "-d", "-x", str(size[0]), "-y", str(size[1]), "sh", env=True)
        self._run("set-option", "-g", "status", "off")
        self._run("resize-window", "-x", str(size[0]), "-y", str(size[1]))
        script = [
            "trap : INT",  # Ctrl-C is for the command. Trapped, and not ignored, which it would inherit
            "stty -g > before",
            "echo before it",
            shlex.join(command_line(*arguments)),
            "echo ended $?",
            "stty -g > after",
            "echo pid $$",
            "exec cat > typed",
        ]
        (folder / "script").write_text("\n".join(script) + "\n", encoding="utf-8")
        self.type("PS1=; clear; exec sh script", "Enter")

    @property
    def screen(self) -> str:
        """What the terminal shows."""
        return self._run("capture-pane", "-p")

    @property
    def is_alternate(self) -> bool:
        """Whether a program has the screen to itself."""
        return self._run("display-message", "-p", "#{alternate_on}").strip() == "1"

    @property
    def shows_cursor(self) -> bool:
        """Whether there is a cursor."""
        return self._run("display-message", "-p", "#{cursor_flag}").strip() == "1"

    def type(self, *keys: str) -> None:
        """Press keys; `C-c` and the like stand for what they do."""
        self._run("send-keys", *keys)

    def resize(self, columns: int, lines: int) -> None:
        """Change the size."""
        self._run("resize-window", "-x", str(columns), "-y", str(lines))

    def wait_for(self, condition: str | Callable[[str], object], secs: float = PATIENCE_SECS) -> str:
        """Wait until the screen shows a text, or meets a condition, and return the screen."""
        deadline = time.monotonic() + secs
        while True:
            screen = self.screen
            if condition in screen if isinstance(condition, str) else condition(screen):
                return screen
            assert time.monotonic() < deadline, f"not shown within {secs} s: {condition}\n{screen}"
            time.sleep(0.02)

    def ended(self) -> int:
        """Wait for the end of the command; the terminal must be what it was before. Returns the exit code."""
        screen = self.wait_for("pid ")
        assert not self.is_alternate
        assert self.shows_cursor
        assert (self._folder / "before").read_text() == (self._folder / "after").read_text()
        lines = [line.rstrip() for line in screen.splitlines() if line.strip()]
        # Nothing of the frames, and no error, is left on the screen.
        assert "before it" == lines[0], screen
        assert lines[1].startswith("ended "), screen
        return int(lines[1].split()[1])

    def send(self, number: int) -> None:
        """Send a signal to the command."""
        shell = int(self._run("display-message", "-p", "#{pane_pid}"))
        (child,) = subprocess.run(
            ["pgrep", "-P", str(shell)], capture_output=True, text=True, check=True
        ).stdout.split()
        os.kill(int(child), number)

    def close(self) -> None:
        """End the server, and with it whatever runs in it."""
        socket = self._run("display-message", "-p", "#{socket_path}", check=False).strip()
        self._run("kill-server", check=False)
        if socket:  # tmux leaves it behind
            Path(socket).unlink(missing_ok=True)

    def _run(self, *arguments: str, env: bool = False, check: bool = True) -> str:
        done = subprocess.run(
            [*self._tmux, *arguments],
            cwd=self._folder,
            env={**_without_size(), "TERM": "xterm-256color", "PYTHONUTF8": "1"} if env else None,
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE_SECS,
            check=False,
        )
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout


def _without_size() -> dict[str, str]:
    """The environment of a command, without what says how large the terminal is: it is as large as it is."""
    return {name: value for name, value in environment().items() if name not in {"COLUMNS", "LINES", "TMUX"}}


@contextlib.contextmanager
def terminal(folder: Path, *arguments: str, size: tuple[int, int] = (80, 24)) -> Iterator[Terminal]:
    """A terminal in which a command runs; skipped where there is no tmux, but not in CI, which installs it."""
    opened = Terminal(shutil.which("tmux") or _do_without(), folder, size, arguments)
    try:
        yield opened
    finally:
        opened.close()


def _do_without() -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(MISSING)
    pytest.skip(MISSING)
