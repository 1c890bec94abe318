"""The child's end of its socket."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections import deque

from pgwerk.worker.processes.frames import Frames, Kind, framed
from pgwerk.worker.processes.stopping import Stopper

_PIECE = 65536


class Incoming:
    """Reads what the worker sends.

    Args:
        channel: The socket.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._frames = Frames()
        self._ended = False

    def next(self) -> tuple[Kind, bytes] | None:
        """Wait for the next frame; None when the worker wants nothing more, or is gone."""
        while (frame := self._frames.take_one()) is None and not self._ended:
            self._receive(0)
        return frame

    def is_stop_ordered(self) -> bool:
        """Whether what runs is to be stopped, or the worker is gone. Does not wait.

        Only called while something runs: then nothing else than this order can follow.
        """
        # The order may have come along with the work, and have been received already.
        with contextlib.suppress(BlockingIOError):
            self._receive(socket.MSG_DONTWAIT)
        return self._ended or any(kind is Kind.Stop for kind, _ in self._frames.take())

    def _receive(self, flags: int) -> None:
        try:
            data = self._channel.recv(_PIECE, flags)
        except BlockingIOError:
            raise
        except OSError:
            # The worker is gone, or a handler has closed files that it did not open.
            data = b""
        self._frames.feed(data)
        self._ended = not data


class Outgoing:
    """Sends to the worker, from any thread, and from signal handlers in the middle of that.

    A frame that is cut off would make nonsense of all that follow. So one that is sent by a signal handler while
    another one is under way waits for that, and nothing interrupts the thread that sends.

    Args:
        channel: The socket.
        stopper: What could interrupt it.

    Attributes:
        is_broken: Whether it cannot send any more although the worker is there: a handler has closed the socket.
    """

    def __init__(self, channel: socket.socket, stopper: Stopper) -> None:
        self._channel = channel
        self._stopper = stopper
        self._lock = threading.RLock()
        self._waiting: deque[bytes] = deque()
        self._sending = False
        self.is_broken = False
        os.register_at_fork(after_in_child=self._leave)

    def send(self, kind: Kind, body: bytes = b"") -> None:
        """Send a frame. When nobody hears it any more, it is lost."""
        self._waiting.append(framed(kind, body))
        with self._stopper.shielded(), self._lock:
            if self._sending:
                return
            self._sending = True
            try:
                while self._waiting:
                    self._channel.sendall(self._waiting.popleft())
            except OSError as error:
                self.is_broken |= not isinstance(error, ConnectionError)
                self._waiting.clear()
            finally:
                self._sending = False

    def _leave(self) -> None:
        """A process that a handler has forked has no part in this."""
        self._channel.close()
