"""The ids of jobs and of their executions.

Jobs have UUIDs of version 7 (RFC 9562), made by the client: they sort by the time of their making,
so the primary key is append-only and ties of `scheduled_at` break in the order of enqueueing.
Within one process they strictly increase, whichever threads make them. That is method 2 of the
RFC's section 6.2, "monotonic random": the 74 bits after the milliseconds are one number, random at
first, and each further id in the same millisecond adds a random step of up to 32 bits to it. A
clock that stands still or goes back changes nothing, because the milliseconds in an id never go
back: they stay at the last ones, and move on by one should the 74 bits ever be used up.

This file is the exception to the rule that nothing in `_core` has a clock or a source of
randomness: ids are made by the calling process, wherever it is. `UUID7Generator` takes both as
arguments.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from uuid import UUID

FIRST_ID = "00000000-0000-0000-0000-000000000000"
"""Comes before every job."""

_RANDOM_BITS = 74
_SEED_BYTES = 10
_NOISE = f"={_SEED_BYTES}sL"
_NOISE_IDS = 32
"""How many single ids randomness is fetched for at once."""

_TAIL = (1 << 48) - 1
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|[0-9a-fA-F]{32}")
_DIGITS = re.compile(r"[0-9a-f]{1,32}")


def _wall_clock() -> int:
    return time.time_ns() // 1_000_000


class UUID7Generator:
    """Makes UUIDs of version 7 that strictly increase, whatever threads and clocks do.

    Args:
        now_ms: Gives the milliseconds since 1970; the wall clock by default.
        random_bytes: Gives that many random bytes; `os.urandom` by default.
    """

    def __init__(
        self,
        now_ms: Callable[[], int] = _wall_clock,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._now_ms = now_ms
        self._random_bytes = random_bytes
        self.reset()

    def reset(self) -> None:
        """Forget the last id and make the lock anew, as the child of a fork has to."""
        # Re-entrant: a signal handler that enqueues may interrupt the thread that holds the lock.
        self._lock = threading.RLock()
        self._ms = -1
        self._random = 0
        # For single ids, randomness is fetched ahead: that is a system call, dearer than the rest of an id.
        self._noise: Iterator[tuple[bytes, int]] = iter(())

    def one(self) -> str:
        """A new id in its canonical form, greater than all before it."""
        with self._lock:
            seed, step = next(self._noise, None) or self._fetch_noise()
            self._begin(seed)
            random = self._random + step + 1
            if random >> _RANDOM_BITS:
                return self._walk((step,))[0]
            self._random = random
            return f"{_prefix(self._ms, random >> 48)}{random & _TAIL:012x}"

    def many(self, count: int) -> list[str]:
        """New ids in ascending order, all greater than those before them.

        Args:
            count: How many; nothing is made for 0 or less.
        """
        if count <= 0:
            return []
        # One call for all that is random.
        noise = self._random_bytes(_SEED_BYTES + 4 * count)
        steps = struct.unpack_from(f"={count}L", noise, _SEED_BYTES)
        with self._lock:
            self._begin(noise)
            return self._walk(steps)

    def _fetch_noise(self) -> tuple[bytes, int]:
        """What is random in an id, and as much for the ids after it."""
        self._noise = struct.iter_unpack(_NOISE, self._random_bytes(struct.calcsize(_NOISE) * _NOISE_IDS))
        return next(self._noise)

    def _begin(self, seed: bytes) -> None:
        """Go on to the present millisecond, with a number that is random, unless that has been done."""
        now = self._now_ms()
        if now > self._ms:
            self._ms, self._random = now, _seed(seed)

    def _walk(self, steps: Iterable[int]) -> list[str]:
        """One id for each step; what stays the same for some 65,000 of them is formatted once."""
        ids = []
        random, head, prefix = self._random, -1, ""
        for step in steps:
            random += step + 1
            if random >> _RANDOM_BITS:
                self._ms, random = self._ms + 1, _seed(self._random_bytes(_SEED_BYTES))
                head = -1
            if head != random >> 48:
                head = random >> 48
                prefix = _prefix(self._ms, head)
            ids.append(f"{prefix}{random & _TAIL:012x}")
        self._random = random
        return ids


def _seed(noise: bytes) -> int:
    """73 random bits: the 74th stays free, so that there is room to count on."""
    return int.from_bytes(noise[:_SEED_BYTES], "big") >> 7


def _prefix(ms: int, head: int) -> str:
    """All but the last 48 bits: milliseconds, version, 12 random bits, variant, 14 random bits."""
    stamp = f"{ms:012x}"
    return f"{stamp[:8]}-{stamp[8:]}-7{head >> 14:03x}-{0x8000 | (head & 0x3FFF):04x}-"


_default = UUID7Generator()
if hasattr(os, "register_at_fork"):
    # The child must not wait for a lock that a thread of its parent held at the time of the fork.
    os.register_at_fork(after_in_child=_default.reset)


def new_id() -> str:
    """A new job id: a UUID of version 7 in canonical form, greater than all before it here."""
    return _default.one()


def new_ids(count: int) -> list[str]:
    """Many new job ids at once, in ascending order.

    Args:
        count: How many; nothing is made for 0 or less.
    """
    return _default.many(count)


def normalize_id(value: object) -> str | None:
    """The canonical form of an id: lower case, with hyphens.

    Args:
        value: A `UUID`, or a text in upper or lower case, with all four hyphens or none.

    Returns:
        The canonical form, or `None` when it is no UUID.
    """
    if isinstance(value, UUID):
        return str(value)
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        return None
    return _hyphenated(value.replace("-", "").lower())


def id_range(prefix: object) -> tuple[str, str]:
    """The first and the last id that begin so: by that, they are found without looking at all others.

    Args:
        prefix: The first digits, with hyphens where an id has them, or with none.

    Raises:
        TypeError: It is not a text.
        ValueError: No id begins so.
    """
    if not isinstance(prefix, str):
        raise TypeError(f"id_prefix must be a str, not {type(prefix).__name__} ({prefix!r})")
    digits = prefix.replace("-", "").lower()
    padded = _hyphenated(f"{digits:0<32}")
    if not _DIGITS.fullmatch(digits) or ("-" in prefix and not padded.startswith(prefix.lower())):
        raise ValueError(f"id_prefix must be what the id of a job begins with, not {prefix!r}")
    return padded, _hyphenated(f"{digits:f<32}")


def execution_id(job_id: str, attempt: int) -> str:
    """The id of one attempt of a job, known before its row is written.

    In SQL, on every supported PostgreSQL: `md5(job_id::text || ':' || attempt)::uuid`. It is a
    name, not a secret.

    Args:
        job_id: The id of the job in its canonical form.
        attempt: The number of the attempt, from 1.
    """
    return _hyphenated(hashlib.md5(f"{job_id}:{attempt}".encode(), usedforsecurity=False).hexdigest())


def _hyphenated(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
