"""How findings are worded."""

from __future__ import annotations

from collections.abc import Sequence

from pgwerk._core.insights import Finding

SHOWN = 5
"""So many names are listed; how many more there are is said."""

MINUTE, HOUR, DAY = 60, 3600, 86400


def unseen(check: str, reason: str) -> Finding:
    """A check that could not be made."""
    return Finding(
        check, "warning", f"could not be looked at: {reason}", "see the reason; a missing right is given by GRANT"
    )


def number(count: int, one: str, many: str | None = None) -> str:
    """A number with its noun: `1 job`, `12 jobs`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def span(secs: float) -> str:
    """A duration in the unit that fits it."""
    if secs < 0.01:
        return f"{secs * 1000:.2f} ms"
    if secs < 1:
        return f"{secs * 1000:.0f} ms"
    for limit, size, unit in ((2 * MINUTE, 1, "s"), (2 * HOUR, MINUTE, "min"), (2 * DAY, HOUR, "h")):
        if secs < limit:
            return f"{secs / size:.0f} {unit}"
    return f"{secs / DAY:.0f} days"


def some(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
