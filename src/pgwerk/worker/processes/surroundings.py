"""What a handler may change around it, and what the next one must find as it was."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
from collections.abc import Callable
from typing import Any

from pgwerk.worker.stacks import of_coroutine

LONGEST_WRITE = 4096
"""Bytes that go into a pipe at once, or not at all."""

# Without those for real time: nobody uses them, and there are as many as of the others.
_SIGNALS = frozenset(signal.Signals) & signal.valid_signals()


class Surroundings:
    """Working directory, umask, signals and their timers, as they are now.

    Args:
        stacks: The descriptor to which stacks are written on SIGUSR1.
        coroutine: Gives the coroutine that runs; None while none does.
        lasting: Whether there is going to be a next handler; if not, only what could disturb the report is undone.
    """

    def __init__(self, stacks: int, coroutine: Callable[[], Any], *, lasting: bool) -> None:
        self._stacks = stacks
        self._coroutine = coroutine
        self._lasting = lasting
        # A descriptor leads back even if the directory is renamed meanwhile. It may also be gone or closed to us.
        try:
            self._folder: int | None = os.open(os.curdir, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._folder = None
        self._umask = os.umask(0o022)
        os.umask(self._umask)
        self._handlers = {number: signal.getsignal(number) for number in _SIGNALS} if lasting else {}
        self._register()

    def put_back(self) -> None:
        """Undo what has been changed."""
        # First of all what could interrupt the rest.
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.set_wakeup_fd(-1)
        if not self._lasting:
            return
        for number, handler in self._handlers.items():
            if signal.getsignal(number) is not handler:
                _set_handler(number, handler)
        self._register()
        os.umask(self._umask)
        if self._folder is not None:
            with contextlib.suppress(OSError):
                os.fchdir(self._folder)

    def _register(self) -> None:
        # One that is registered already is not registered again, whatever has become of it meanwhile.
        faulthandler.unregister(signal.SIGUSR1)
        # What waits on an event loop is on no thread's stack. Where code in C is busy, only the others are told.
        signal.signal(signal.SIGUSR1, self._write_awaits)
        with contextlib.suppress(OSError, ValueError):
            faulthandler.register(signal.SIGUSR1, file=self._stacks, all_threads=True, chain=True)

    def _write_awaits(self, *_: object) -> None:
        coroutine = self._coroutine()
        if coroutine is not None:
            with contextlib.suppress(OSError):
                text = f"The coroutine waits here:\n{of_coroutine(coroutine)}"
                os.write(self._stacks, text.encode("utf-8", "replace")[:LONGEST_WRITE])


def _set_handler(number: int, handler: Callable[..., Any] | int | None) -> None:
    if handler is not None and number != signal.SIGUSR1:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, handler)
