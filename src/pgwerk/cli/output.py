"""Printing: tables for people, JSON for programs. Data go to the standard output, all else to the error stream.

rich is imported when something is printed with it: that takes as long as many a command.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_C1 = re.compile("[\x7f-\x9f]")

STATUS_STYLES = {
    "queued": "cyan",
    "scheduled": "blue",
    "waiting": "blue",
    "active": "bold",
    "aborting": "yellow",
    "complete": "green",
    "failed": "red",
    "aborted": "yellow",
}
"""Colours help; nothing is said by colour alone."""


def console() -> Console:
    """The standard output, as wide as the terminal; in a pipe, as wide as it takes."""
    from rich.console import Console

    if sys.stdout.isatty():
        return Console(highlight=False, markup=False, emoji=False)
    width = None if os.environ.get("COLUMNS", "").isdigit() else IN_A_PIPE
    return Console(width=width, soft_wrap=True, highlight=False, markup=False, emoji=False)


IN_A_PIPE = 100_000
"""Columns of what is no terminal."""


def note(message: str) -> None:
    """Say something that is not data."""
    sys.stderr.write(f"{message}\n")


def print_json(value: Any) -> None:
    """Print a value as one JSON document."""
    document = json.dumps(jsonable(value), indent=2, ensure_ascii=False)
    try:
        document.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # a terminal that has fewer characters, or half a surrogate pair
        document = json.dumps(jsonable(value), indent=2)
    # JSON escapes the control characters of ASCII, and those that a terminal obeys as well are not among them.
    sys.stdout.write(_C1.sub(lambda found: f"\\u{ord(found[0]):04x}", document) + "\n")


def jsonable(value: Any) -> Any:
    """A value in the types that JSON has, all the way down; numbers that JSON does not have become texts."""
    if value is None or type(value) in {str, bool, int}:
        return value
    if type(value) is float:
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(plain(key) if isinstance(key, Enum) else key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [jsonable(item) for item in value]
    return jsonable(plain(value))


def plain(value: Any) -> Any:
    """A value in the types that JSON has: times in ISO 8601, durations in seconds, models as objects."""
    if attrs.has(type(value)):
        return {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
    for kind, convert in _PLAIN:
        if isinstance(value, kind):
            return convert(value)
    return str(value)


_PLAIN: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (datetime, datetime.isoformat),
    (timedelta, timedelta.total_seconds),
    (Enum, lambda member: member.value),
    (Mapping, dict),
    ((set, frozenset, tuple), list),
)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Iterable[str] = (), gap: int = 2) -> Table:
    """A table without lines.

    Args:
        columns: The headings.
        rows: The cells. In a plain text, brackets are brackets: nothing in it is markup.
        right: The headings of the columns that are numbers.
        gap: How many columns of the terminal to leave between two of the table.
    """
    from rich.table import Table
    from rich.text import Text

    numbers = set(right)
    result = Table(box=None, header_style="bold", pad_edge=False, padding=(0, gap, 0, 0))
    for name in columns:
        result.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
    for row in rows:
        result.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    return result


def text(plain: str = "", style: str = "") -> Text:
    """A text in which nothing is markup."""
    from rich.text import Text

    return Text(plain, style)


def status_text(status: Enum | str) -> Text:
    """A status, coloured."""
    name = str(status.value if isinstance(status, Enum) else status)
    return text(name, style=STATUS_STYLES.get(name, ""))


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """How long ago something was, or how far away it is: `5 s ago`, `in 3 min`."""
    if moment is None:
        return ""
    secs = ((now or datetime.now(UTC)) - moment).total_seconds()
    return f"{duration(secs)} ago" if secs >= 0 else f"in {duration(-secs)}"


def duration(secs: float | None) -> str:
    """A duration as people say it: `340 ms`, `12.5 s`, `3 min`, `5.2 h`, `12 d`."""
    if secs is None:
        return ""
    if secs < 1:
        return f"{secs * 1000:.0f} ms"
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if secs < limit:
            amount = secs / size
            return f"{amount:.1f} {unit}" if amount < 10 else f"{amount:.0f} {unit}"
    return f"{secs / 86400:.0f} d"
