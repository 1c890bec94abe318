"""Sparklines: a series of numbers as a line of little bars, in what the terminal can show."""

from __future__ import annotations

import sys
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = ".:-=+*#@"
NOTHING = "_"
"""Stands for zero, so that few can be told from none."""


def bars() -> str:
    """The bars that the standard output can show, the lowest one first."""
    try:
        BLOCKS.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return BLOCKS


def sparkline(series: Sequence[int], bars: str) -> str:
    """One character for each number; the highest one has the highest bar.

    Args:
        series: Numbers that are not negative.
        bars: The bars, the lowest one first.
    """
    top = max(series, default=0)
    return "".join(bars[(number * len(bars) - 1) // top] if number else NOTHING for number in series)
