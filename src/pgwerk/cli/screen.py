"""A terminal that a command has to itself: the alternate screen, single keys, and an orderly way back.

However the command ends, the terminal is as it was before: when it is asked to by a key, by Ctrl-C, by a signal, and
when it fails. Signals are only noted down, so that none of them can get into the way of that; while the command waits
for the database, they also interrupt it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TypeVar

from rich.console import Console, RenderableType
from rich.live import Live

try:
    import termios
    import tty
except ImportError:  # Windows: there are no keys then, and Ctrl-C ends the command
    HAS_KEYS = False
else:
    HAS_KEYS = True

ENDING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK")
"""The signals that end the command, as far as the system has them."""

IGNORED = ("SIGTSTP",)
"""Ctrl-Z would give the shell a terminal that is not its own."""

GLANCE_SECS = 0.2
"""How often the size of the terminal is looked at."""


ALARM: int | None = getattr(signal, "SIGALRM", None)

T = TypeVar("T")


class _Interrupted(KeyboardInterrupt):
    """A signal came while the command waited for the database."""


class Screen:
    """The terminal.

    Args:
        console: The standard output.

    Attributes:
        ended_by: The number of the signal that came; None as long as there was none.
    """

    def __init__(self, console: Console) -> None:
        self.ended_by: int | None = None
        self._console = console
        self._live: Live | None = None
        self._may_interrupt = False
        self.has_keys = HAS_KEYS and sys.stdin.isatty()

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Use the terminal, and give it back."""
        live = Live(console=self._console, screen=True, auto_refresh=False, vertical_overflow="crop")
        with self._signals(), self._silence(), self._keys(), live:
            self._live = live
            yield

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines of the terminal."""
        return self._console.size

    def draw(self, frame: RenderableType) -> None:
        """Show a frame."""
        if self._live is not None:
            self._live.update(frame, refresh=True)

    def interruptible(self, func: Callable[[], T], secs: float) -> T | None:
        """Call a function, and let a signal interrupt it, or, where the system has timers, the end of so many seconds.

        Returns:
            What the function returns; None if it was interrupted, or would have been.
        """
        self._may_interrupt = True
        try:
            if self.ended_by is not None:
                return None
            _set_timer(secs)
            return func()
        except _Interrupted:
            return None
        finally:
            self._may_interrupt = False
            _set_timer(0.0)

    def wait(self, secs: float) -> str | None:
        """Wait for a key, or for a change of the terminal's size.

        Returns:
            The key; an empty text if the size has changed or a signal came; None if nothing happened.
        """
        size, until = self.size, time.monotonic() + secs
        while (left := until - time.monotonic()) > 0:
            if self.ended_by is not None or self.size != size:
                return ""
            pause = min(left, GLANCE_SECS)
            if not self.has_keys:
                time.sleep(pause)
            elif select.select([sys.stdin], [], [], pause)[0]:
                # Not through sys.stdin, which reads ahead: select() would not see what it holds.
                if key := os.read(sys.stdin.fileno(), 1):
                    return key.decode("ascii", "replace")
                self.has_keys = False  # the terminal is gone
        return None

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def note(number: int, _: FrameType | None) -> None:
            if number != ALARM:
                self.ended_by = self.ended_by or number
            if self._may_interrupt:
                self._may_interrupt = False
                raise _Interrupted

        before: dict[int, Any] = {}
        for name in (*ENDING, "SIGALRM"):
            if hasattr(signal, name):
                number = getattr(signal, name)
                before[number] = signal.signal(number, note)
        for name in IGNORED:
            if hasattr(signal, name):
                number = getattr(signal, name)
                before[number] = signal.signal(number, signal.SIG_IGN)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def _silence(self) -> Iterator[None]:
        """Keep log lines off the screen: on this terminal they would go between the frames."""
        before = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)

    @contextlib.contextmanager
    def _keys(self) -> Iterator[None]:
        """Get each key when it is pressed, and do not show it."""
        if not self.has_keys:
            yield
            return
        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
        try:
            tty.setcbreak(descriptor, termios.TCSANOW)
            yield
        finally:
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _set_timer(secs: float) -> None:
    """Have an alarm go off after so many seconds; with 0, none."""
    if ALARM is not None:
        signal.setitimer(signal.ITIMER_REAL, secs)
