"""Imported by a nursery: the system refuses to fork, a few times."""

from __future__ import annotations

import errno
import os

_fork = os.fork
_left = 2


def _refused() -> int:
    global _left  # noqa: PLW0603 - it counts for the process
    if _left:
        _left -= 1
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return _fork()


os.fork = _refused
