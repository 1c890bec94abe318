"""The line between a supervisor and the processes that it has started, from the end of such a process.

The line is a socket, which the process gets as its standard input. Orders come over it, `stop` and `now`, and not as
signals: a terminal and a service manager send their signals to all processes of a service, and one that gets the same
order twice must not take the second one for more urgent. When the line is cut, the supervisor is dead, and the process
stops as well.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable

from pgwerk.cli.failures import USAGE, Failure

logger = logging.getLogger("pgwerk.cli")

VARIABLE = "PGWERK_SUPERVISED"
"""The environment variable that tells a process of its supervisor. It is taken out of the environment at once."""

READY = "ready"
"""The process says that it works."""

WATCH = "watch"
"""It says which folder its source is in."""

STOP = "stop"
NOW = "now"


class Line:
    """The line to the supervisor.

    Args:
        sock: Its socket.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._lock = threading.Lock()
        self._orders: list[str] = []
        self._obey: Callable[[str], None] | None = None
        threading.Thread(target=self._listen, name="pgwerk-supervised", daemon=True).start()

    @classmethod
    def take_up(cls) -> Line | None:
        """The line of this process; None if it has no supervisor.

        Raises:
            Failure: It should have one.
        """
        if os.environ.pop(VARIABLE, None) is None:
            return None
        try:
            sock = socket.socket(fileno=os.dup(0))
        except OSError as error:
            # It must not take itself for the first one, and supervise others that would do the same.
            text = f"{VARIABLE} is set, which only `werk worker` itself does, and the standard input is no line to it"
            raise Failure(text, USAGE) from error
        # Whatever reads the standard input, a program that a handler starts for instance, gets none of the orders.
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        return cls(sock)

    def say(self, what: str, about: str = "") -> None:
        """Tell the supervisor something."""
        with contextlib.suppress(OSError):
            self._socket.sendall(f"{what} {about}\n".encode())

    def obey(self, func: Callable[[str], None]) -> None:
        """Have a function called with each order, from a thread; also with those that have come already."""
        with self._lock:
            self._obey = func
            for order in self._orders:
                func(order)

    def _listen(self) -> None:
        with contextlib.suppress(OSError), self._socket.makefile(encoding="utf-8") as lines:
            for line in lines:
                self._on_order(line.strip())
        if not self._orders:
            logger.warning("the supervisor is gone: stopping")
        self._on_order(STOP)

    def _on_order(self, order: str) -> None:
        with self._lock:
            self._orders.append(order)
            if self._obey is not None:
                self._obey(order)
            else:
                # Nothing runs yet, so there is nothing to be orderly about. A real signal wakes up what sleeps.
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
