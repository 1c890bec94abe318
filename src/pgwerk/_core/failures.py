"""How a failure is written down."""

from __future__ import annotations

import traceback
from types import TracebackType

LONGEST = 100_000
"""Characters. A traceback of a deep recursion can be longer, and its ends are what tells something."""


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


def _own_frames_skipped(tb: TracebackType | None) -> TracebackType | None:
    first = tb
    while tb is not None and tb.tb_frame.f_globals.get("__name__", "").startswith("pgwerk."):
        tb = tb.tb_next
    # An error of pgwerk's own has no other frames.
    return first if tb is None else tb
