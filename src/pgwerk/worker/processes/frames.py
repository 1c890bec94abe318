"""What worker, nursery and children say to each other, as frames: kind, length, body."""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator


class Kind(enum.IntEnum):
    """What a frame is about."""

    # From the worker to the nursery, before all else
    Setup = enum.auto()
    """A pickled `Setup`."""

    # From the nursery to the worker
    Ready = enum.auto()
    """The names of threads that run although none should, one a line."""
    Failed = enum.auto()
    """The nursery cannot do its work: a traceback."""
    Forked = enum.auto()
    """`FORKED`"""
    NotForked = enum.auto()
    """`NOT_FORKED`"""
    Dead = enum.auto()
    """`DEAD`"""

    # From the worker to a child
    Run = enum.auto()
    """A pickled `Work`, as plain tuples."""
    Stop = enum.auto()
    """What runs is to be stopped; SIGTERM follows."""

    # From a child to the worker
    Started = enum.auto()
    """`PID`. The child has the work: whatever kills it from here on was a failure of what it ran."""
    Ended = enum.auto()
    """A pickled `Report`."""
    Record = enum.auto()
    """A log record."""
    StopWorker = enum.auto()
    """A handler has called `ctx.worker.stop()`; with something in it, the worker is to stop at once."""


REQUEST = struct.Struct("!BQi")
"""From the worker to the nursery: the request, the number of the child, a signal. All requests are equally long, so
that the descriptors which come with one are received with that one."""

FORK, SIGNAL = 1, 2

FORKED = struct.Struct("!Qq")
"""The number of the child, and its process id."""

PID = struct.Struct("!q")
"""The process id of the child. Its parent tells it, too, unless it dies before it can."""

NOT_FORKED = struct.Struct("!Qi")
"""The number of the child, and the system's error number."""

DEAD = struct.Struct("!Qiq")
"""The number of the child, its wait status, and how many bytes of memory it had at most."""

_HEADER = struct.Struct("!BQ")


def framed(kind: Kind, body: bytes = b"") -> bytes:
    """A frame as it is sent."""
    return _HEADER.pack(kind, len(body)) + body


class Frames:
    """Puts together what arrives in pieces."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        """Add what was received."""
        self._data += data

    def take(self) -> Iterator[tuple[Kind, bytes]]:
        """Take out the frames that are complete."""
        while (frame := self.take_one()) is not None:
            yield frame

    def take_one(self) -> tuple[Kind, bytes] | None:
        """Take out the first frame, if it is complete."""
        if len(self._data) < _HEADER.size:
            return None
        kind, length = _HEADER.unpack_from(self._data)
        end = _HEADER.size + length
        if len(self._data) < end:
            return None
        body = bytes(memoryview(self._data)[_HEADER.size : end])
        del self._data[:end]
        return Kind(kind), body
