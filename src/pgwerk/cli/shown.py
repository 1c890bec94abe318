"""Showing what comes from the database: it was written by anybody, and must do nothing to the terminal.

Function names, errors and metadata may hold escape sequences, markup of rich or characters that turn the line round.
They are shown as what they are.
"""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.text import Text

MAX_LINES = 40
MAX_CHARS = 2000
MOST_PER_COLUMN = 4
"""Characters that share a column of the terminal, with accents for instance; more of them are cut off."""

# Control characters but for line feed and tabulator, separators of lines, what changes the direction of writing, and
# surrogates, which no encoding can write.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    r"""A text with all that a terminal would obey written as Python does: an escape is `\x1b`."""
    return _UNSAFE.sub(lambda found: repr(found[0])[1:-1], text.replace("\r\n", "\n"))


def in_one_line(text: str) -> str:
    """The same, with its white space made single spaces."""
    return visible(" ".join(text.split()))


def last_line(error: str | None) -> str:
    """The line of a traceback that says what was wrong."""
    lines = (error or "").strip().splitlines()
    return in_one_line(lines[-1]) if lines else ""


def cut(text: str, width: int, *, keep_end: bool = False) -> str:
    """A text that takes up no more than so many columns, with a mark where something is missing."""
    from rich.cells import cell_len

    # However long it is: what lies further away is not looked at.
    near = text[-MOST_PER_COLUMN * width - 1 :] if keep_end else text[: MOST_PER_COLUMN * width + 1]
    if near == text and cell_len(text) <= width:
        return text
    mark = ("…" if _has_character("…") else "~")[:width]
    while near and cell_len(near) + len(mark) > width:
        near = near[1:] if keep_end else near[:-1]
    return f"{mark}{near}" if keep_end else f"{near}{mark}"


def _has_character(character: str) -> bool:
    """Whether the terminal can show it."""
    try:
        character.encode(sys.stdout.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def pretty(value: Any) -> str:
    """A value as JSON that people can read."""
    from pgwerk import Undecodable
    from pgwerk.cli.output import jsonable

    if isinstance(value, Undecodable):
        return f"cannot be read: {value.reason}\nstored is: {value.stored}"
    return json.dumps(jsonable(value), indent=2, ensure_ascii=False)


def shorten(text: str, *, full: bool, keep_end: bool = False) -> tuple[str, str]:
    """The beginning of a long text, or its end, and a note of how much is missing; empty if nothing is.

    Args:
        text: The text.
        full: Whether to keep all of it.
        keep_end: Whether it is the end that matters, as in a traceback.
    """
    if full:
        return text, ""
    lines = text.splitlines()
    kept = "\n".join(lines[-MAX_LINES:] if keep_end else lines[:MAX_LINES])
    kept = kept[-MAX_CHARS:] if keep_end else kept[:MAX_CHARS]
    missing = len(text) - len(kept)
    if missing <= 1:
        return text, ""
    where = "before this" if keep_end else "more"
    return kept, f"({missing:,} characters {where}: --full shows all)"


def block(text: str, *, full: bool, keep_end: bool = False) -> Text:
    """A text of several lines, harmless, indented, and cut if it is long."""
    from rich.text import Text

    kept, missing = shorten(text, full=full, keep_end=keep_end)
    lines = [visible(line) for line in kept.split("\n")]
    if missing:
        lines.insert(0 if keep_end else len(lines), missing)
    return Text("\n".join(f"  {line}" for line in lines))
