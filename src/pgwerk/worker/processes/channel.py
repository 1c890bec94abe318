"""The worker's end of the sockets to its nursery and to its children."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence

from attrs import define

from pgwerk.worker.processes.frames import Frames, Kind

_PIECE = 262_144


@define
class _Message:
    data: memoryview
    descriptors: tuple[int, ...]
    then: Callable[[], None] | None


class Channel:
    """Sends without ever waiting, and hands over the frames that arrive.

    Args:
        sock: The socket.
        on_frame: Gets each frame.
        on_end: Called once, when the other side has closed its end.
    """

    def __init__(
        self, sock: socket.socket, on_frame: Callable[[Kind, bytes], None], on_end: Callable[[], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        self._on_frame = on_frame
        self._on_end = on_end
        self._frames = Frames()
        self._waiting: deque[_Message] = deque()
        self._is_writing = False
        self._is_open = True
        sock.setblocking(False)
        self._loop.add_reader(sock, self._on_readable)

    def send(self, data: bytes, descriptors: Sequence[int] = (), then: Callable[[], None] | None = None) -> None:
        """Send something, after all that was sent before.

        Args:
            data: What to send.
            descriptors: What the other side gets a copy of. They are closed here when that has been sent.
            then: Called when the kernel has all of it, or when the other side does not listen any more.
        """
        if not self._is_open:
            _close_all(descriptors)
            if then is not None:
                then()
            return
        self._waiting.append(_Message(memoryview(data), tuple(descriptors), then))
        if not self._is_writing:
            self._write()

    def read_rest(self) -> None:
        """Read what the other side has sent, without waiting for more. Others may still hold its end open."""
        while self._is_open and self._read():
            pass

    def end(self) -> None:
        """Send nothing more; the other side is told so."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close it."""
        if not self._is_open:
            return
        self._is_open = False
        self._loop.remove_reader(self._socket)
        self._stop_writing()
        for message in self._waiting:
            _close_all(message.descriptors)
        self._waiting.clear()
        self._socket.close()

    def _on_readable(self) -> None:
        self._read()

    def _read(self) -> bool:
        """Read a piece; False when there is nothing."""
        try:
            data = self._socket.recv(_PIECE)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        if not data:
            self.close()
            self._on_end()
            return False
        self._frames.feed(data)
        for kind, body in self._frames.take():
            self._on_frame(kind, body)
        return True

    def _write(self) -> None:
        while self._waiting and self._is_open:
            message = self._waiting[0]
            try:
                sent = self._send_some(message)
            except (BlockingIOError, InterruptedError):
                self._start_writing()
                return
            except OSError:
                # The end of it is read, too, and dealt with there.
                sent = len(message.data)
            _close_all(message.descriptors)
            message.descriptors = ()
            message.data = message.data[sent:]
            if not message.data:
                self._waiting.popleft()
                if message.then is not None:
                    message.then()
        self._stop_writing()

    def _send_some(self, message: _Message) -> int:
        if message.descriptors:
            return socket.send_fds(self._socket, [message.data], message.descriptors)
        return self._socket.send(message.data)

    def _start_writing(self) -> None:
        if not self._is_writing:
            self._is_writing = True
            self._loop.add_writer(self._socket, self._write)

    def _stop_writing(self) -> None:
        if self._is_writing:
            self._is_writing = False
            self._loop.remove_writer(self._socket)


def _close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
