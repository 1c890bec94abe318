"""Pauses between tries of what is expected to work again."""

from __future__ import annotations

import random

FIRST_PAUSE_SECS = 0.1
LONGEST_PAUSE_SECS = 10.0


class Backoff:
    """Pauses between tries: they double, and half of each is drawn by lot, so that not all come back at once.

    "Equal jitter" in M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    def __init__(self) -> None:
        self._ceiling = FIRST_PAUSE_SECS
        self._rng = random.Random()

    def reset(self) -> None:
        """Something has worked."""
        self._ceiling = FIRST_PAUSE_SECS

    def next(self) -> float:
        """Seconds to pause."""
        pause = self._rng.uniform(self._ceiling / 2, self._ceiling)
        self._ceiling = min(2 * self._ceiling, LONGEST_PAUSE_SECS)
        return pause
