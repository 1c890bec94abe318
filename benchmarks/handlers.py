"""The work of the measured jobs: none, so that what is measured is the queue."""

from __future__ import annotations

import time
from collections.abc import Callable


async def noop() -> None:
    """Nothing."""


async def swallow(text: str) -> None:
    """Nothing, with an argument."""


class Countdown:
    """Tells when so many jobs have begun: of a backlog that is larger, a worker runs a part.

    Args:
        jobs: How many.
        on_zero: Called by the last one.
    """

    current: Countdown

    def __init__(self, jobs: int, on_zero: Callable[[], None]) -> None:
        self._left = jobs
        self._on_zero = on_zero
        Countdown.current = self

    def count(self) -> None:
        """Count one job."""
        self._left -= 1
        if self._left == 0:
            self._on_zero()


async def counted() -> None:
    """Nothing, but counted."""
    Countdown.current.count()


started: dict[int, float] = {}
"""When jobs with a number have begun, by the clock that all processes of a machine share."""


async def stamped(number: int) -> None:
    """Nothing, but for the time at which it begins."""
    started[number] = time.monotonic()
