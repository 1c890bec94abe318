"""Pauses between tries of what is expected to work again."""

from __future__ import annotations

import random

FIRST_PAUSE_SECS = 0.1
LONGEST_PAUSE_SECS = 10.0


class Backoff:
    """Pauses between tries: they double, and half of each is drawn by lot, so that not all come back at once.

    "Equal jitter" in M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.

    Args:
        first_secs: The first pause, at most.
        longest_secs: The longest one.
    """

    def __init__(self, first_secs: float = FIRST_PAUSE_SECS, longest_secs: float = LONGEST_PAUSE_SECS) -> None:
        self._first_secs = self._ceiling = first_secs
        self._longest_secs = longest_secs
        self._rng = random.Random()

    def reset(self) -> None:
        """Something has worked."""
        self._ceiling = self._first_secs

    def next(self) -> float:
        """Seconds to pause."""
        pause = self._rng.uniform(self._ceiling / 2, self._ceiling)
        self._ceiling = min(2 * self._ceiling, self._longest_secs)
        return pause
