"""Stopping what a child runs: only when the worker has ordered it, and at a moment when it does no harm.

An order has two parts. The worker writes a `Stop` frame, and when the kernel has it, has the child signalled with
SIGTERM. The handler of the signal looks for the frame without waiting. It finds one, or that the worker is gone: what
runs is stopped. It finds nothing: somebody else has sent the signal, a service manager for instance, which sends it to
all processes of a service while the worker still waits for its jobs to end; that is logged and changes nothing.

Python calls handlers of signals between any two instructions of the main thread. Where an exception must not come in
between, the thread is shielded, and the exception waits for the end of the shield.

A plain function is stopped by an exception, `Stopped`, a coroutine by the cancellation of its task. Both come once: who
does not end then is killed.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator

from pgwerk.worker.processes.errors import Stopped

logger = logging.getLogger("pgwerk.worker")

# Those for which handlers have functions of their own. Not all: Python makes an object of each, each time.
_HELD_BACK = frozenset(
    getattr(signal, name)
    for name in ("SIGALRM", "SIGCHLD", "SIGHUP", "SIGINT", "SIGPROF", "SIGTERM", "SIGUSR2", "SIGVTALRM")
)


class Stopper:
    """Listens for orders to stop while something runs.

    Args:
        is_ordered: Whether the worker has ordered it. Does not wait.

    Attributes:
        ordered: Whether an order has been obeyed.
        cancel: Stops what runs in a better way than by an exception; says whether it could.
    """

    def __init__(self, is_ordered: Callable[[], bool]) -> None:
        self._is_ordered = is_ordered
        self._main_thread = threading.get_ident()
        self._armed = False
        self._shields = 0
        self._pending = False
        self.ordered = False
        self.cancel: Callable[[], bool] | None = None

    def arm(self) -> None:
        """From here on `Stopped` may be raised.

        Raises:
            Stopped: The order is there already.
        """
        self._armed = True
        # The signal may have come before this child had ears for it.
        if self._is_ordered():
            self._obey()

    def disarm(self) -> None:
        """From here on it may not."""
        self._armed = False

    def on_sigterm(self, *_: object) -> None:
        """The handler of the signal."""
        if not self._armed:
            # Whoever reads the next frame reads the order.
            return
        if self._is_ordered():
            self._obey()
        elif not self.ordered:
            with self.shielded():
                logger.warning("a child process ignores a SIGTERM that its worker has not ordered")

    @contextlib.contextmanager
    def shielded(self) -> Iterator[None]:
        """Let no signal handler come in between. In other threads none ever does."""
        if threading.get_ident() != self._main_thread:
            yield
            return
        # Python's own handlers are held back by the mask, except when another thread takes the signal. For the one
        # handler that matters most, the count makes up for that.
        self._shields += 1
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
        try:
            yield
        finally:
            self._shields -= 1
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            if self._pending and not self._shields:
                self._pending = False
                self._obey()

    def _obey(self) -> None:
        self.ordered = True
        if self._shields:
            self._pending = True
            return
        if not self._armed:
            return
        if self.cancel is not None and self.cancel():
            self._armed = False
            return
        self._armed = False
        raise Stopped("the worker has stopped it")
