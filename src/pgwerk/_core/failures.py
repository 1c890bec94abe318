"""How a failure is written down, and what of it fits into one line."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Iterator
from types import TracebackType

LONGEST = 100_000
"""Characters. A traceback of a deep recursion can be longer, and its ends are what tells something."""


_CHAINED = (
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
)
_HEADER = "Traceback (most recent call last):"
_GROUP_HEADER = f"  + Exception Group {_HEADER}"
_GROUP_MARGIN = "  | "
_LEFT_OUT = re.compile(r"\.\.\. \d+ characters left out \.\.\.")


def describe(error: BaseException) -> str:
    """The traceback of an error as text that PostgreSQL can store, without the frames of pgwerk above the handler."""
    lines = traceback.format_exception(type(error), error, _own_frames_skipped(error.__traceback__))
    return storable("".join(lines))


def storable(text: str) -> str:
    """The text with what PostgreSQL cannot store escaped, and with its middle left out when it is very long."""
    if len(text) > LONGEST:
        half = LONGEST // 2
        text = f"{text[:half]}\n... {len(text) - LONGEST} characters left out ...\n{text[-half:]}"
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


def exception_line(text: str) -> str:
    """The line that names the exception, out of what `describe` wrote: `ValueError: no luck`.

    It need not be the last one: a message can have more lines, notes come after it, and so do the members of a group.
    Of a text that is no traceback it is the last line.
    """
    lines = text.rstrip().split("\n")
    header, *rest = lines[_begin_of_last(lines) :]
    if header == _GROUP_HEADER:
        rest = [line.removeprefix(_GROUP_MARGIN) for line in rest]
    elif header != _HEADER:
        return lines[-1]
    return next(_after_frames(rest), lines[-1])


def _begin_of_last(lines: list[str]) -> int:
    """Where the exception begins that came of all others before it."""
    places = range(len(lines) - 3, 0, -1)
    return next((place + 2 for place in places if lines[place] in _CHAINED and not lines[place + 1]), 0)


def _after_frames(lines: Iterable[str]) -> Iterator[str]:
    remaining = iter(lines)
    for line in remaining:
        if _LEFT_OUT.fullmatch(line):
            next(remaining, None)  # the rest of some line
        elif line and not line.startswith(" "):
            yield line


def _own_frames_skipped(tb: TracebackType | None) -> TracebackType | None:
    first = tb
    while tb is not None and tb.tb_frame.f_globals.get("__name__", "").startswith("pgwerk."):
        tb = tb.tb_next
    # An error of pgwerk's own has no other frames.
    return first if tb is None else tb
