# Generated from src/pgwerk/_async/forking.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""What becomes of clients in a forked child.

An inherited connection is shared with the parent: closing it would end the parent's session in the server, and using it
would mix two conversations. So a child drops all it inherits without closing it, and begins anew. Locks that another
thread of the parent held at the moment of the fork would stay locked for ever, so they are made anew too.
"""

from __future__ import annotations

import os
import weakref
from typing import Any, Protocol


class Forkable(Protocol):
    """What wants to know that it has been inherited by a forked child."""

    def after_fork(self) -> None:
        """Begin anew. Runs in the child, before anything else does."""


_forkables: weakref.WeakSet[Forkable] = weakref.WeakSet()
_abandoned: list[Any] = []


def register(forkable: Forkable) -> None:
    """Have it called in each forked child, for as long as it lives."""
    _forkables.add(forkable)


def abandon(inherited: object) -> None:
    """Keep an inherited object for the rest of the process, so that nothing ever finalizes it."""
    _abandoned.append(inherited)


def _after_fork_in_child() -> None:
    for forkable in list(_forkables):
        forkable.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
