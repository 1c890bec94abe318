"""Where the head of a queue is, so that a claim need not walk over what is dead.

While a session anywhere in the database holds an old snapshot (a report, a backup), nothing that was updated since can
be cleaned away. The entries of all jobs that were ready then stay at the head of the ready index, and each claim would
walk over them again: with 100,000 of them, at a fifth of the pace. So, as long as claims find all they ask for, the
next one starts behind the last job that was claimed of each priority. Jobs may appear before that place (long
transactions, retries, rescues, another priority), so a claim begins at the very beginning several times a second, or as
often as a twentieth of the time allows, and whenever another one has found too little.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from pgwerk._core.arrays import moments, plain
from pgwerk._core.claimed import Claimed

LOOK_BACK_SECS = 0.1, 2.0
"""After how many seconds a claim begins at the very beginning again, at least and at most."""

LOOK_BACK_SHARE = 0.05
"""The share of the time that this may take."""

MOST_PRIORITIES = 20
"""Of how many priorities a head is remembered."""

_BEGINNING = datetime.min.replace(tzinfo=UTC), ""


class Head:
    """How far the head of a queue has moved: the last job that was claimed of each priority."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[Any, str]] = {}
        self._look_back_at = 0.0

    def is_near(self, now: float) -> bool:
        """Whether a claim may start from there, at this time of the monotonic clock."""
        return bool(self._last) and now < self._look_back_at

    def params(self) -> dict[str, Any]:
        """The parameters that say where it is."""
        priorities = sorted(self._last, reverse=True)
        return {
            "priorities": plain(priorities),
            "times": moments(self._last[priority][0] for priority in priorities),
            "last_ids": plain(self._last[priority][1] for priority in priorities),
        }

    def move(self, claimed: Iterable[Claimed]) -> None:
        """These were claimed."""
        for each in claimed:
            place = each.scheduled_at, each.id
            if self._look_back_at and place > self._last.get(each.priority, _BEGINNING):
                self._last[each.priority] = place
        if len(self._last) > MOST_PRIORITIES:
            self._last.clear()

    def was_left(self, secs: float, *, is_exhausted: bool) -> None:
        """A claim has begun at the very beginning.

        Args:
            secs: How long it took.
            is_exhausted: Whether it found less than it was to claim: then there is nothing to be quick about.
        """
        self._last.clear()
        least, most = LOOK_BACK_SECS
        pause = min(max(secs / LOOK_BACK_SHARE, least), most)
        self._look_back_at = 0.0 if is_exhausted else time.monotonic() + pause
